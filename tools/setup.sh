#!/usr/bin/env bash
# Installs the packages of tools/packages.txt that are missing. Asks the network for nothing when none is. Those marked
# [GROUP] are wanted only where that group is the argument.
. "$(dirname "$0")/common.sh"

[ -r /etc/debian_version ] || die "this is not Debian; install what tools/packages.txt lists by hand, then use bazel."
mapfile -t wanted < <(sed "s/#.*//; s/\[${1:-none}\]//; /\[/d; s/[[:space:]]//g; /^\$/d" tools/packages.txt)
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "these packages are missing; install them as root, then try again:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# apt_get HINT WORDS...: quietly, but for how far it is; what it says is shown when it fails. A fresh machine may be busy
# with its own updates: wait for them. The status goes to descriptor 3, opened inside, since sudo closes it; to 1 it can't
# go, since apt closes that one for the packages' scripts, and some of them die of it.
apt_get() {
  local hint=$1
  shift
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c 'exec apt-get "$@" 3>&1 >&2' apt-get \
    -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o APT::Status-Fd=3 "$@" \
    </dev/null 2>"$log" | progress "$1" && return
  tail -n 40 "$log" >&2
  die "'apt-get $1' failed, see above. $hint"
}

# Tells each tenth of the way of an update or an install, from apt's status lines. Package names may have colons in them.
progress() {
  local line kind step said=""
  while IFS= read -r line; do
    case $line in
      dlstatus:*) kind=$([ "$1" = update ] && echo "package lists fetched" || echo downloaded) ;;
      pmstatus:*) kind=installed ;;
      *) continue ;;
    esac
    [[ $line =~ :([0-9]+)\.[0-9]+: ]] || continue
    step="$kind $((BASH_REMATCH[1] / 10 * 10)) %"
    [ "$step" = "$said" ] || echo "   $step" >&2
    said=$step
  done
}

say "installing ${#missing[@]} packages from Debian, and what they need (once; a few minutes)"
fold -s -w 110 <<<"${missing[*]}" | sed 's/^/   /' >&2
apt_get "Can Debian's servers be reached, and are the sources in /etc/apt right?" update
apt_get "Is this Debian 12, with its main archive among the sources in /etc/apt?" \
  install -y --no-install-recommends "${missing[@]}"
