# Shared by the scripts behind ./dev; sourced from the repository's top folder.
set -euo pipefail

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { echo "./dev: $*" >&2; exit 1; }

# Some CI systems and containers set no HOME; bazel's caches and the demo's cluster live below it.
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}

# Where fetched tools live (grpcurl, buf, a Python environment): outside the repository, shared by its clones.
TOOLS_DIR=${MILENA_TOOLS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/milena/tools}

PROGRAMS=(//client/cli:milena //services/controller:milena-controller //services/broker:milena-broker
  //services/group_coordinator:milena-group-coordinator)

# Links the built programs side by side, where `milena local` finds them.
link_programs() {
  mkdir -p bin
  local target
  for target in "${PROGRAMS[@]}"; do
    target=${target#//}
    ln -sfn "../bazel-bin/${target/://}" "bin/${target#*:}"
  done
}
