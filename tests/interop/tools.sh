# Tools of other ecosystems that the tests use, fetched once into TOOLS_DIR; sourced. Each need_... sets a variable, or
# prints why the tool can't be had and returns 1: then its tests are counted as skipped, by name.
. tools/common.sh

need_grpcurl() {
  GRPCURL=$TOOLS_DIR/bin/grpcurl
  [ -x "$GRPCURL" ] && return
  command -v go >/dev/null || { echo "no go command"; return 1; }
  GOBIN=$TOOLS_DIR/bin timeout 400 go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3 >/dev/null 2>&1 ||
    { echo "grpcurl could not be built as a Go module"; return 1; }
}

need_buf() {
  BUF=$TOOLS_DIR/buf/node_modules/.bin/buf
  [ -x "$BUF" ] && return
  command -v npm >/dev/null || { echo "no npm command"; return 1; }
  mkdir -p "$TOOLS_DIR/buf"
  timeout 200 npm install --silent --no-audit --no-fund --prefix "$TOOLS_DIR/buf" @bufbuild/buf@1.47.2 >/dev/null 2>&1 ||
    { echo "buf could not be installed from npm"; return 1; }
}

need_python() {
  PYTHON=$TOOLS_DIR/python/bin/python
  "$PYTHON" -c 'import grpc, grpc_tools' 2>/dev/null && return
  command -v python3 >/dev/null || { echo "no python3 command"; return 1; }
  { python3 -m venv "$TOOLS_DIR/python" &&
    timeout 300 "$TOOLS_DIR/python/bin/pip" install -q grpcio==1.66.2 grpcio-tools==1.66.2; } >/dev/null 2>&1 ||
    { echo "grpcio could not be installed from PyPI"; return 1; }
}

# What the Go client is built with: protoc's plugins, and the modules that its go.mod names. Sets GO_PLUGINS.
need_go_client() {
  GO_PLUGINS=$TOOLS_DIR/go/protobuf-1.35.1-grpc-1.5.1
  export GOTOOLCHAIN=local
  local version
  command -v go >/dev/null || { echo "no go command"; return 1; }
  command -v protoc >/dev/null || { echo "no protoc command"; return 1; }
  version=$(go env GOVERSION 2>/dev/null)
  [ "$(printf '%s\n' go1.22 "$version" | sort -V | head -1)" = go1.22 ] ||
    { echo "go is too old: it needs 1.22, and this is ${version:-older than 1.16}"; return 1; }
  if [ ! -x "$GO_PLUGINS/protoc-gen-go" ] || [ ! -x "$GO_PLUGINS/protoc-gen-go-grpc" ]; then
    GOBIN=$GO_PLUGINS timeout 300 go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.35.1 >/dev/null 2>&1 &&
      GOBIN=$GO_PLUGINS timeout 300 go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1 >/dev/null 2>&1 ||
      { echo "protoc's plugins could not be built as Go modules"; return 1; }
  fi
  (cd tests/interop/go && timeout 300 go mod download) >/dev/null 2>&1 ||
    { echo "the client's Go modules could not be fetched"; return 1; }
}

# Nobody listens on the 300 ports from $1 on. From the kernel's own table, since not every machine has ss.
ports_are_free() {
  local local_address state port
  while read -r _ local_address _ state _; do
    [ "$state" = 0A ] || continue
    port=$((16#${local_address##*:}))
    [ "$port" -lt "$1" ] || [ "$port" -ge $(($1 + 300)) ] || return 1
  done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
}

# Sets BASE_PORT to a block of 300 ports that no other test of this machine uses now: below the range that the kernel
# gives to outgoing connections, and held by a lock for as long as the script lives.
reserve_ports() {
  local block lock
  for block in $(seq 12000 300 31000 | shuf); do
    lock=/tmp/milena-ports-$block.lock
    # Another user's lock file can't be written to, but it can be locked.
    { [ -e "$lock" ] || : >"$lock"; } 2>/dev/null || true
    { exec {PORT_LOCK}<"$lock"; } 2>/dev/null || continue
    if flock -n "$PORT_LOCK" && ports_are_free "$block"; then
      BASE_PORT=$block
      return
    fi
    exec {PORT_LOCK}>&-
  done
  echo "not ok no block of ports is free"
  exit 1
}

# Starts a cluster of its own for the script, and takes it down when the script ends.
start_cluster() {
  WORK=$(mktemp -d)
  trap 'bin/milena local down --data "$WORK/cluster" >"$WORK/down.log" 2>&1 || cat "$WORK/down.log"; rm -rf "$WORK"' EXIT
  reserve_ports
  if ! bin/milena local up --data "$WORK/cluster" --base-port "$BASE_PORT" "$@" >"$WORK/up.log" 2>&1; then
    cat "$WORK/up.log"
    echo "not ok a local cluster starts"
    exit 1
  fi
  export MILENA_BOOTSTRAP=localhost:$BASE_PORT
}

# check NAME COMMAND...: runs the command, prints ok or not ok with what it said.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok $name"
  else
    echo "not ok $name"
    sed 's/^/   /' <<<"$output"
  fi
}
