#!/usr/bin/env bash
# Installs the packages of tools/packages.txt that are missing. Asks the network for nothing when none is.
. "$(dirname "$0")/common.sh"

[ -r /etc/debian_version ] || die "this is not Debian; install what tools/packages.txt lists by hand, then use bazel."
mapfile -t wanted < <(sed 's/#.*//; s/[[:space:]]//g; /^$/d' tools/packages.txt)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${db:Status-Abbrev}\n' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

say "installing from Debian: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "missing packages need root: run 'apt-get install ${missing[*]}' as root."
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
  </dev/null >&2
