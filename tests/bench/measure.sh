# What the comparisons measure with; sourced after sides.sh. Figures are noted as lines "measure side value" in
# $WORK/figures, of which figures.awk makes a table.

# field NAME: the number of that name, from the JSON on standard input.
field() { grep -o "\"$1\": *[0-9.eE+-]*" | head -n 1 | sed 's/.*: *//'; }
field_all() { grep -o "\"$1\": *[0-9.eE+-]*" | sed 's/.*: *//'; } # of every line
note() { echo "$1 $2 $3" >>"$WORK/figures"; }            # note MEASURE SIDE VALUE
per_gb() { awk -v a="$1" -v b="$2" -v bytes="$3" 'BEGIN {print (b - a) / (bytes / 1e9)}'; } # s/GB
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {print b - a}'; }

# settled_cpu SIDE: its broker's CPU seconds, once what the load before left behind is done (flushes, collections of
# garbage); after 3 s at the latest.
settled_cpu() {
  local before now
  now=$("${1}_cpu")
  for _ in $(seq 10); do
    before=$now
    sleep 0.3
    now=$("${1}_cpu")
    awk -v a="$before" -v b="$now" 'BEGIN {exit !(b - a < 0.02)}' && break
  done
  echo "$now"
}

# meter SIDE: seconds by the clock, of busy processors, of the side's own; MB written so far to the disk of $WORK.
meter() {
  local disk
  disk=$(findmnt -no MAJ:MIN -T "$WORK" 2>/dev/null | tr -d ' ' || true)
  awk -v now="$EPOCHREALTIME" -v own="$("${1}_cpu")" -v disk="$disk" -v hz="$(getconf CLK_TCK)" '
    $1 == "cpu" {busy = ($2 + $3 + $4 + $7 + $8 + $9) / hz}
    $1 ":" $2 == disk {mb = $10 * 512 / 1e6}
    END {print now, busy, own, mb + 0}' /proc/stat /proc/diskstats
}

# note_limits MEASURE SIDE BEFORE CLIENT_S: how near the machine was to its end since that meter was read: share of the
# processors that were busy; share that neither the side nor its client used; MB/s to the disk.
note_limits() {
  local limits busy others disk
  limits=$(awk -v a="$3" -v b="$(meter "$2")" -v client="$4" -v cores="$(nproc)" 'BEGIN {
    split(a, x, " "); split(b, y, " "); s = (y[1] - x[1]) * cores
    print 100 * (y[2] - x[2]) / s, 100 * (y[2] - x[2] - (y[3] - x[3]) - client) / s, (y[4] - x[4]) * cores / s}')
  read -r busy others disk <<<"$limits"
  note "$1_busy" "$2" "$busy"
  note "$1_others" "$2" "$others"
  note "$1_disk" "$2" "$disk"
}

# produce_load SIDE TOPIC SIZE RECORDS MEASURE NAME: as fast as it goes.
produce_load() {
  local side=$1 topic=$2 size=$3 records=$4 before start json
  sync # what the load before wrote is not this one's
  before=$(settled_cpu "$side")
  start=$(meter "$side")
  json=$("${side}_produce" "$topic" "$records" "$size")
  note_limits "$5" "$side" "$start" "$(field client_cpu_seconds <<<"$json")"
  note "$5" "$side" "$(field "$6" <<<"$json")"
  note "$5_cpu" "$side" "$(per_gb "$before" "$(settled_cpu "$side")" $((records * size)))"
  note "$5_client" "$side" "$(per_gb 0 "$(field client_cpu_seconds <<<"$json")" $((records * size)))"
}
