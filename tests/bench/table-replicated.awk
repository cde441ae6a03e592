# The rows of three brokers against three; see figures.awk.
function limits(measure, is_produce) {
  if (is_produce) row(measure "_client", "  CPU of the client, s/GB")
  row(measure "_busy", "  processors busy, %")
  row(measure "_others", "  of it neither brokers nor client, %")
  row(measure "_disk", "  to the disk, MB/s")
}
END {
  head()
  row("produce_100", "produce 100 B, records/s", ">", 2, 3)
  row("produce_100_cpu", "  CPU of all brokers, s/GB", "<", 0.5, 0.4)
  limits("produce_100", 1)
  row("produce_1000", "produce 1,000 B, MB/s", ">", 1.7, 2.2)
  row("produce_1000_cpu", "  CPU of all brokers, s/GB", "<", 0.5, 0.4)
  limits("produce_1000", 1)
  row("e2e_p50", "end to end one at a time, ms p50", "<", 0.5, 0.33)
  row("e2e_p99", "  ms p99", "<", 0.33, 0.2)
  row("paced_rate", "produce unbatched, 3,000/s: records/s", "least", 2990, 3000)
  row("paced_p50", "  ms p50")
  row("paced_p99", "  ms p99, our own", "abs", 10, 5)
  limits("paced", 0)
  row("peak_brokers", "resident memory of the three brokers, MiB at the most", "abs", 600, 400)
  row("peak", "  with controllers: at the most")
  row("rss", "  at the end of a turn")
  row("idle_rss", "  just started")
  row("idle_cpu", "CPU at rest, s/min")
  row("failover", "leader killed, 1,000 partitions: all led again, ms", "abs", 2000, 1000)
  row("failover_worst", "  each has taken a record again, ms", "abs", 2000, 1000)
}
