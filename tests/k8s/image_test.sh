#!/usr/bin/env bash
# The container image: the same bytes twice, small, no shell in it, and its programs run from what is in it alone.
cd "$(dirname "$0")/../.."
. tests/interop/tools.sh

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
make_image() { python3 tools/image/make_image.py --binaries bin --ref localhost/milena:test "$@"; }

is_reproducible() {
  make_image --out "$WORK/one.tar" && make_image --out "$WORK/two.tar" && cmp "$WORK/one.tar" "$WORK/two.tar"
}
is_small() { [ "$(du -sm "$WORK/root" | cut -f 1)" -lt 100 ]; }
has_no_shell() { ! find "$WORK/root" -name 'sh' -o -name bash -o -name busybox | grep -q .; }
runs() {
  local program
  for program in milena milena-broker milena-controller milena-group-coordinator; do
    chroot --userspec=65532:65532 "$WORK/root" "/usr/bin/$program" --version || return
  done
}

check "the image is reproducible" is_reproducible
make_image --root "$WORK/root" >/dev/null
check "the image is under 100 MiB" is_small
check "the image has no shell" has_no_shell
if [ "$(id -u)" = 0 ]; then
  check "its programs run from it alone, as another user than root" runs
else
  echo "skip the image's programs in a chroot: not root"
fi
