# Lines of "measure side value", any number of turns, to a table of medians with the ratio and the target of each.
# A target is "> FLOOR AIM" or "< FLOOR AIM" for the ratio of ours to Kafka's, or "abs FLOOR AIM" for our own figure.

function median(key,   n, i, j, t, v) {
  n = split(values[key], v, " ")
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && v[j - 1] + 0 > v[j] + 0; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
  if (n == 0) return ""
  return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function figure(value) {
  if (value == "") return "-"
  if (value >= 1000) return sprintf("%.0f", value)
  return sprintf(value >= 100 ? "%.0f" : "%.2f", value)
}

function verdict(kind, got, floor, aim) {
  if (got == "") return "not measured"
  if (kind == ">") return got >= aim ? "aim" : got >= floor ? "floor" : "MISSED"
  return got <= aim ? "aim" : got <= floor ? "floor" : "MISSED"
}

function row(measure, what, kind, floor, aim,   ours, theirs, ratio, got) {
  ours = median(measure " milena")
  theirs = median(measure " kafka")
  ratio = ours != "" && theirs + 0 > 0 ? ours / theirs : ""
  got = kind == "abs" ? ours : ratio
  printf "%-52s %10s %10s %7s   %-16s %s\n", what, figure(ours), figure(theirs), ratio == "" ? "-" : sprintf("%.2f", ratio),
    kind ? (kind == "abs" ? "at most " : kind == ">" ? "ratio > " : "ratio < ") floor " / " aim : "", kind ? verdict(kind, got, floor, aim) : ""
}

{ values[$1 " " $2] = values[$1 " " $2] " " $3 }

END {
  printf "%-52s %10s %10s %7s   %-16s %s\n", "medians of " turns " turns", "Milena", "Kafka", "ratio", "floor / aim", ""
  row("produce_100", "produce 100 B, records/s", ">", 1.5, 2)
  row("produce_100_cpu", "  broker CPU s/GB", "<", 1, 0.7)
  row("produce_1000", "produce 1,000 B, MB/s", ">", 1.5, 2)
  row("produce_1000_cpu", "  broker CPU s/GB", "<", 0.8, 0.7)
  row("tail", "consume at the tail while producing, MB/s", ">", 1.5, 2)
  row("tail_cpu", "  broker CPU s/GB of both", "<", 0.8, 0.7)
  row("tail_read_cpu", "  of it for consuming (less that of producing alone)", "<", 0.5, 0.5)
  row("warm", "catch up, warm, MB/s", ">", 1, 1.5)
  row("warm_cpu", "  broker CPU s/GB")
  row("cold", "catch up after a restart and dropped caches, MB/s", ">", 1, 1.5)
  row("paced_p50", "produce unbatched, 5,000/s, ms p50")
  row("paced_p99", "  ms p99", "<", 0.1, 0.1)
  row("paced_p99", "  ms p99, our own", "abs", 1, 1)
  row("e2e_p50", "end to end one at a time, ms p50")
  row("e2e_p99", "  ms p99", "<", 1, 0.5)
  row("e2e_os_p50", "  with flush=os, ms p50", "<", 1, 0.5)
  row("peak", "resident memory under the loads, MiB at the most", "abs", 200, 120)
  row("rss", "  some seconds after them")
  row("ready", "start to ready, s", "abs", 1, 0.3)
}
