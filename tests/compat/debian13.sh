#!/usr/bin/env bash
# Builds this tree and runs its tests on Debian 13 (g++ 14, LibTorch 2.6, Abseil
# 20240722), in a root that debootstrap makes from nothing. Needs root on any
# Debian or Ubuntu, a mirror, and 12 GB of disk. What is tested is the last
# commit, not uncommitted changes.
#
#   tests/compat/debian13.sh                 every test
#   tests/compat/debian13.sh -L unit         any ctest options, as tests/run.sh
#   tests/compat/debian13.sh --prepare       only the root and its packages
#   tests/compat/debian13.sh --shell         a shell inside, to look around
# Options, before those of ctest:
#   --root DIR     where the root is kept, and reused by the next call
#                  (default: /var/cache/fedgraft/debian13)
#   --fresh        throw the kept root away first, its compiler cache included
#   --mirror URL   default: http://deb.debian.org/debian
# FEDGRAFT_DATA (default: ../shared/data beside the repository) is mounted
# read-only inside if it exists; without it, tests on real data skip.
set -euo pipefail

source_root=$(cd "$(dirname "$0")/../.." && pwd)
root=/var/cache/fedgraft/debian13 fresh=0 mirror=http://deb.debian.org/debian
action=test
while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) awk 'NR > 1 { if (!/^#/) exit; print substr($0, 3) }' "$0"; exit 0 ;;
    --root | --mirror)
      [ $# -ge 2 ] || { echo "debian13.sh: $1 needs a value" >&2; exit 2; } ;;&
    --root) root=$2; shift 2 ;;
    --mirror) mirror=$2; shift 2 ;;
    --fresh) fresh=1; shift ;;
    --prepare) action=prepare; shift ;;
    --shell) action=shell; shift ;;
    *) break ;;
  esac
done
say() { echo "debian13.sh: $*"; }
fail() { say "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "chroot and mount need root: sudo $0"

if ! command -v debootstrap >/dev/null; then
  command -v apt-get >/dev/null || fail "debootstrap is missing; install it"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y debootstrap debian-archive-keyring >/dev/null
fi
# A proxy that apt is told of outside holds inside too.
if [ -z "${http_proxy:-}" ] && command -v apt-config >/dev/null; then
  eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
  [ -z "${http_proxy:-}" ] || export http_proxy
fi

# --- the root ---------------------------------------------------------------
mkdir -p "$root"
root=$(realpath "$root")
marker=$root/.fedgraft-debian13
if [ -n "$(ls -A "$root")" ] && [ ! -e "$marker" ]; then
  fail "$root is not empty and was not made by this script; choose another --root"
fi
if [ $fresh = 1 ]; then
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
fi
# The marker is "complete" only after debootstrap: a broken-off one starts anew.
if [ "$(cat "$marker" 2>/dev/null)" != complete ]; then
  say "debootstrap of Debian 13 into $root"
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  echo begun >"$marker"
  # The release's own file may be younger than this machine's debootstrap.
  script=/usr/share/debootstrap/scripts/trixie
  [ -e $script ] || script=/usr/share/debootstrap/scripts/sid
  debootstrap --variant=minbase --include=ca-certificates,git trixie "$root" "$mirror" $script \
    >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; fail "debootstrap failed, see $root.log"; }
  echo complete >"$marker"
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Packages start no service inside.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# --- the tree ---------------------------------------------------------------
# A bundle crosses any difference of owners, and a fetch keeps the times of the
# files that did not change, so that the next build is short.
git -c safe.directory='*' -C "$source_root" bundle create -q "$root/tree.bundle" HEAD
data=${FEDGRAFT_DATA:-$source_root/../shared/data}
data=$(realpath -q "$data" || true)
mkdir -p "$root/data" "$root/ccache"

# --- inside -----------------------------------------------------------------
cat >"$root/inside.sh" <<'INSIDE'
set -euo pipefail
if [ ! -d /fedgraft/.git ]; then git init -q /fedgraft; fi
cd /fedgraft
git fetch -q /tree.bundle HEAD
git reset -q --hard FETCH_HEAD
echo "debian13.sh: $(git log -1 --format='%h %s')"
./deploy/install-deps.sh --tests
dpkg-query -W -f '${Package} ${Version}\n' g++ libtorch-dev libabsl-dev libgrpc++-dev \
  libprotobuf-dev libssl-dev libopencv-dev | sed 's/^/  /'
case "$ACTION" in
  prepare) ;;
  shell) exec bash ;;
  test) exec ./tests/run.sh "$@" ;;
esac
INSIDE

# All mounts live in a name space of their own and end with it: nothing is left
# mounted, and a later `rm -r` of the root reaches nothing of this machine.
# shellcheck disable=SC2016
unshare --mount --propagation private --pid --fork --kill-child bash -euc '
  root=$1 data=$2 action=$3; shift 3
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/dev/shm"
  mount -t tmpfs tmpfs "$root/tmp"
  inside_data=
  if [ -d "$data" ]; then
    mount --bind "$data" "$root/data"
    mount -o remount,bind,ro "$root/data"
    inside_data=/data
  fi
  exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    TERM="${TERM:-dumb}" http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
    CCACHE_DIR=/ccache FEDGRAFT_DATA="${inside_data:-/none}" \
    ACTION="$action" bash /inside.sh "$@"
' unshared "$root" "$data" "$action" "$@" <&0 &
# unshare itself is deaf to both signals; what runs inside dies with it.
trap 'kill -KILL $!' INT TERM
wait $!
