#!/usr/bin/env bash
# From nothing to a cluster with real data in it: sets up, builds, starts a local cluster, streams this machine's package
# history and package catalogue through it, kills a broker meanwhile, and counts what came back. The cluster stays up.
. "$(dirname "$0")/common.sh"

DATA=${MILENA_DEMO_DATA:-${XDG_DATA_HOME:-$HOME/.local/share}/milena/demo}
BASE_PORT=${MILENA_DEMO_PORT:-7600}
export MILENA_BOOTSTRAP=localhost:$BASE_PORT
ports=()
[ "$BASE_PORT" = 7600 ] || ports=(--base-port "$BASE_PORT")

if [ "${1:-}" = --down ]; then
  exec bin/milena local down --data "$DATA"
fi

tools/setup.sh
say "building"
bazel build --ui_event_filters=-info "${PROGRAMS[@]}"
link_programs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- The input ----

history=/var/log/dpkg.log
[ -s "$history" ] || die "$history is missing or empty: the demo streams it."
cp "$history" "$work/history" # it may grow meanwhile
# Without package lists (some images drop them), apt knows the installed packages alone.
if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  say "fetching Debian's package lists, for the catalogue"
  "${as_root[@]}" apt-get update -qq </dev/null >&2 ||
    echo "they can't be had here: the catalogue is that of the installed packages" >&2
fi
apt-cache dumpavail >"$work/catalogue"
[ -s "$work/catalogue" ] || die "apt knows no packages: run 'apt-get update' as root, then try again."
# Field 5 of status lines, field 4 of the others: (?|...) numbers the group alike in both branches.
history_key='^\S+ \S+ (?|status \S+ (\S+)|\S+ (\S+))'
catalogue_key='^Package: (\S+)'

# ---- The cluster ----

say "starting a controller, three brokers and two group-coordinators"
bin/milena local up --data "$DATA" --brokers 3 --coordinators 2 "${ports[@]}" ||
  die "the cluster does not start, see above. Other ports, another folder: MILENA_DEMO_PORT=8600 MILENA_DEMO_DATA=... ./dev demo"
for topic in package-history package-catalogue; do
  bin/milena topics delete "$topic" --yes >/dev/null 2>&1 || true # of an earlier demo
  bin/milena topics create "$topic" --partitions 6 >/dev/null
done
bin/milena topics list

say "the package history: $(wc -l <"$work/history") lines, keyed by package"
bin/milena produce package-history --file "$work/history" --key-regex "$history_key"

say "the package catalogue: $(grep -c '^Package: ' "$work/catalogue") records; broker-2 is killed with -9 on the way"
size=$(stat -c %s "$work/catalogue")
# A third of the data flows, then the broker dies; another third, then it comes back; then the rest.
{
  head -c $((size / 3)) "$work/catalogue"
  bin/milena local stop broker-2 --kill --data "$DATA" >"$work/restart" 2>&1
  dd if="$work/catalogue" bs=64K iflag=skip_bytes,count_bytes skip=$((size / 3)) count=$((size / 3)) status=none
  bin/milena local start broker-2 --data "$DATA" >>"$work/restart" 2>&1
  tail -c +$((size / 3 * 2 + 1)) "$work/catalogue"
} | bin/milena produce package-catalogue --record-separator '\n\n' --key-regex "$catalogue_key" --compression zstd
cat "$work/restart"

# ---- What came back ----

# Compares two lists of records that end with NUL, as multisets.
count_both() {
  local name=$1 sent=$2 read=$3 missing twice
  LC_ALL=C sort -z "$sent" >"$work/sent"
  LC_ALL=C sort -z "$read" >"$work/read"
  missing=$(LC_ALL=C comm -z -23 "$work/sent" "$work/read" | tr -dc '\0' | wc -c)
  twice=$(LC_ALL=C comm -z -13 "$work/sent" "$work/read" | tr -dc '\0' | wc -c)
  echo "$name: $(tr -dc '\0' <"$sent" | wc -c) records in, $(tr -dc '\0' <"$read" | wc -c) out:" \
    "$missing missing, $twice twice"
  [ "$missing" -eq 0 ] || die "records are missing: this is a bug; the cluster's logs are in $DATA."
}

say "reading everything back"
tr '\n' '\0' <"$work/history" >"$work/history.sent"
bin/milena consume package-history --format '%v\0' >"$work/history.read"
count_both "package history" "$work/history.sent" "$work/history.read"
awk 'BEGIN { RS = ""; ORS = "\0" } { print }' "$work/catalogue" >"$work/catalogue.sent"
bin/milena consume package-catalogue --format '%v\0' >"$work/catalogue.read"
count_both "package catalogue" "$work/catalogue.sent" "$work/catalogue.read"
# Each leader leads in an epoch of its own, and every batch says in which one it was written.
bin/milena consume package-catalogue --format '%p %e\n' | awk '
  { records[$1, $2]++; total[$1]++; if (!($1 in first) || $2 < first[$1]) first[$1] = $2 }
  END {
    for (p in total) if (records[p, first[p]] < total[p]) { moved++; before += records[p, first[p]]; after += total[p] - records[p, first[p]] }
    printf "%d of 6 partitions changed their leader: %d records were written before, and %d after\n", moved, before, after
  }'

# The package with the longest history: one partition, and the order of the file.
bin/milena consume package-history --format '%k\t%p\t%v\n' >"$work/keyed"
key=$(cut -f1 "$work/keyed" | sort | uniq -c | sort -rn | awk 'NR == 1 {print $2}')
awk -F'\t' -v key="$key" '$1 == key {print $3}' "$work/keyed" >"$work/key.read"
awk -v key="$key" '($3 == "status" ? $5 : $4) == key' "$work/history" >"$work/key.sent"
partitions=$(awk -F'\t' -v key="$key" '$1 == key {print $2}' "$work/keyed" | sort -u | wc -l)
cmp -s "$work/key.sent" "$work/key.read" || die "the records of key '$key' are not in the order of the file: a bug."
echo "key '$key': $(wc -l <"$work/key.read") records, all in $partitions partition, in the order of the file"
[ "$partitions" -eq 1 ] || die "one key is in several partitions: this is a bug."

say "the cluster is up; try:"
[ "$BASE_PORT" = 7600 ] || echo "  export MILENA_BOOTSTRAP=$MILENA_BOOTSTRAP"
cat <<TEXT
  bin/milena cluster describe
  bin/milena topics describe package-history
  bin/milena consume package-history --count 3 --format full
  echo 'hello world' | bin/milena produce package-history && bin/milena consume package-history --from -1m
  bin/milena local status --data $DATA

  grpcurl -plaintext $MILENA_BOOTSTRAP list
  grpcurl -plaintext $MILENA_BOOTSTRAP milena.v1.AdminService/ListTopics
  grpcurl -plaintext -d '{"topic":"package-history","limit":3,"format":"FORMAT_TEXT"}' $MILENA_BOOTSTRAP \\
    milena.v1.ConsumerService/Consume
  grpcurl -plaintext -d '{"topic":"package-history","records":[{"key_text":"bash","value_text":"by hand"}]}' \\
    $MILENA_BOOTSTRAP milena.v1.ProducerService/Produce

(Another port or folder: MILENA_DEMO_PORT, MILENA_DEMO_DATA.) End it with:

  bin/milena local down --data $DATA
TEXT
