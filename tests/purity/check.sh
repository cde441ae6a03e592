#!/usr/bin/env bash
# Who may use whom, where Bazel's visibility can't see it: includes of libraries, and the symbols that pure code leaves
# undefined. Prints a line for each rule.
set -euo pipefail
cd "$(dirname "$0")/../.."

bad=0
# rule NAME LINES: ok when LINES is empty.
rule() {
  if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1"; sed 's/^/   /' <<<"$2"; bad=1; fi
}

rule "only services/rpc includes grpc" "$(git grep -lE '#include [<"]grpc/[a-z_]+\.h' -- '*.c' '*.h' '*.cc' | grep -v '^services/rpc/' || true)"
rule "only storage/rocks includes rocksdb" "$(git grep -lE '#include [<"]rocksdb/' -- '*.c' '*.h' '*.cc' | grep -vE '^(storage/rocks|tests/(crash|bench|unit/rocks))/' || true)"
rule "the only C++ is the test shim" "$(git ls-files '*.cc' '*.cpp' '*.cxx' '*.hpp' | grep -v '^tests/shim/' || true)"
rule "generated code is not committed" "$(git ls-files '*.pb-c.*' '*_pb2*.py')"
rule "no file is longer than 800 lines" "$(git ls-files '*.c' '*.h' '*.cc' | xargs wc -l | awk '$2 != "total" && $1 > 800 {print $2 ": " $1 " lines"}')"

# Pure folders: what they include from /usr/include, and what their object code leaves undefined.
pure=(controller/raft controller/metadata storage/log services/broker/replica services/group_coordinator/groups)
headers='^(glib\.h|google/.*|milena/.*|protobuf-c/.*|std(arg|bool|def|int|lib|io)\.h|string\.h|limits\.h|inttypes\.h|math\.h|stdatomic\.h|ctype\.h|errno\.h|isa-l/.*|isa-l\.h|zstd\.h|zstd_errors\.h|lz4\.h|lz4frame\.h)$'
for folder in "${pure[@]}"; do
  [ -d "$folder" ] || continue
  rule "$folder includes glib, protobuf-c and codecs at most" "$(grep -rhoE '^#include [<"][^>"]+' "$folder" --include='*.[ch]' | sed -E 's/^#include [<"]//' | sort -u |
    grep -vE "$headers" | grep -vE '^(controller/(raft|metadata)|storage/log|services/broker/replica|services/group_coordinator/groups|services/base/(failure|invariant|times))' || true)"
  objects=$(find "bazel-bin/$folder/_objs" -name '*.o' 2>/dev/null || true)
  if [ -z "$objects" ]; then echo "not ok $folder was built"; bad=1; continue; fi
  rule "$folder calls nothing of the outer world" "$(nm -u $objects | awk '/ U /{print $2}' | sort -u | grep -vxEf tests/purity/allowed.txt || true)"
done
tests/purity/docs.sh || bad=1
exit $bad
