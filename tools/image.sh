#!/usr/bin/env bash
# Builds the container image as an OCI archive, without a container engine.
#   ./dev image [--ref NAME:TAG] [--out FILE.tar]
. "$(dirname "$0")/common.sh"

ref=localhost/milena:dev out=milena-image.tar
while [ $# -gt 0 ]; do
  case $1 in
    --ref) ref=${2:?--ref needs NAME:TAG} && shift 2 ;;
    --out) out=${2:?--out needs a file} && shift 2 ;;
    *) die "image: unknown option '$1': it takes --ref NAME:TAG and --out FILE" ;;
  esac
done

tools/setup.sh
bazel build "${PROGRAMS[@]}"
link_programs
python3 tools/image/make_image.py --binaries bin --ref "$ref" --out "$out"
