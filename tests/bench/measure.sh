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

# produce_load SIDE TOPIC SIZE RECORDS MEASURE NAME: as fast as it goes.
produce_load() {
  local side=$1 topic=$2 size=$3 records=$4 before json
  before=$(settled_cpu "$side")
  json=$("${side}_produce" "$topic" "$records" "$size")
  note "$5" "$side" "$(field "$6" <<<"$json")"
  note "$5_cpu" "$side" "$(per_gb "$before" "$(settled_cpu "$side")" $((records * size)))"
}
