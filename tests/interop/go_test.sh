#!/usr/bin/env bash
# A Go client over generated stubs: topics, streams in both directions, encoded batches and errors.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

if ! reason=$(need_go_client); then
  echo "skip go: $reason"
  exit 0
fi
need_go_client
start_cluster --brokers 3
cp -r tests/interop/go "$WORK/go"

# The protos name no Go package, so that none of them belongs to one language: each gets its place here.
generate() {
  local proto protos=() places=(google/rpc/status.proto=google.golang.org/genproto/googleapis/rpc/status) options=() place
  for proto in protos/milena/v1/*.proto; do
    protos+=("${proto#protos/}")
    places+=("${proto#protos/}=milena/interop/pb")
  done
  for place in "${places[@]}"; do options+=("--go_opt=M$place" "--go-grpc_opt=M$place"); done
  PATH=$GO_PLUGINS:$PATH protoc -I protos --go_out="$WORK/go" --go_opt=module=milena/interop \
    --go-grpc_out="$WORK/go" --go-grpc_opt=module=milena/interop "${options[@]}" "${protos[@]}"
}
# Without this folder's name in it (-trimpath), so that a later run finds what it compiled in the cache of go.
build() { (cd "$WORK/go" && go build -trimpath -buildvcs=false -o client .); }

check "go: stubs are generated from the protos" generate
check "go: the client is built" build
"$WORK/go/client" "localhost:$BASE_PORT" "$(readlink -f bin/milena)" || echo "not ok go: the client ended early"
