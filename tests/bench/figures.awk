# Lines of "measure side value", any number of turns, to a table of medians with the ratio and the target of each; the
# rows are the END of table.awk or of table-replicated.awk.
# A target is "> FLOOR AIM" or "< FLOOR AIM" for the ratio of ours to Kafka's, or "abs FLOOR AIM" for our own
# figure at the most, "least FLOOR AIM" at the least.

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
  if (kind == ">" || kind == "least") return got >= aim ? "aim" : got >= floor ? "floor" : "MISSED"
  return got <= aim ? "aim" : got <= floor ? "floor" : "MISSED"
}

function head() {
  printf "%-53s %10s %10s %7s   %-18s %s\n", "medians of " turns " turns", "Milena", "Kafka", "ratio", "floor / aim", ""
}

function row(measure, what, kind, floor, aim,   ours, theirs, ratio, got) {
  ours = median(measure " milena")
  theirs = median(measure " kafka")
  ratio = ours != "" && theirs + 0 > 0 ? ours / theirs : ""
  got = kind == "abs" || kind == "least" ? ours : ratio
  printf "%-53s %10s %10s %7s   %-18s %s\n", what, figure(ours), figure(theirs),
    ratio == "" ? "-" : sprintf("%.2f", ratio), kind ? BOUNDS[kind] " " floor " / " aim : "",
    kind ? verdict(kind, got, floor, aim) : ""
}

BEGIN {
  BOUNDS[">"] = "ratio >"
  BOUNDS["<"] = "ratio <"
  BOUNDS["abs"] = "at most"
  BOUNDS["least"] = "at least"
}

{ values[$1 " " $2] = values[$1 " " $2] " " $3 }
