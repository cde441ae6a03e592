#!/usr/bin/env bash
# Installs libmilena below a folder, for programs that are not built here:
#   PREFIX/include/milena/{milena,group}.h  PREFIX/lib/libmilena.so  PREFIX/lib/pkgconfig/milena.pc
# The library needs Debian's libgrpc29, libglib2.0-0, libprotobuf-c1, libisal2, libzstd1 and liblz4-1 where it runs.
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: install.sh PREFIX [LIBRARY]    LIBRARY: the built libmilena.so; without it, it is built" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
library=${2:-}
if [ -z "$library" ]; then
  (cd "$here" && bazel build //client/libmilena:libmilena.so)
  library=$(cd "$here" && bazel info bazel-bin)/client/libmilena/libmilena.so
fi
mkdir -p "$1/include/milena" "$1/lib/pkgconfig"
prefix=$(cd "$1" && pwd)
version=$(sed -n 's/^#define MILENA_VERSION "\(.*\)"$/\1/p' "$here/../../services/base/version.h")
install -m 644 "$here/include/milena/milena.h" "$here/include/milena/admin.h" "$here/include/milena/group.h" "$prefix/include/milena/"
install -m 755 "$library" "$prefix/lib/libmilena.so.0"
ln -sfn libmilena.so.0 "$prefix/lib/libmilena.so"
sed -e "s|@PREFIX@|$prefix|" -e "s|@VERSION@|$version|" "$here/milena.pc.in" >"$prefix/lib/pkgconfig/milena.pc"
echo "libmilena $version is in $prefix: set PKG_CONFIG_PATH=$prefix/lib/pkgconfig, then 'pkg-config --cflags --libs milena'"
