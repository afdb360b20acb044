#!/usr/bin/env bash
# Configures and builds into build/release. Extra arguments go to CMake.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${FEDGRAFT_BUILD_DIR:-$root/build/release}
# A torch file needs 1 GB while it compiles: no more jobs than memory allows.
memory_gib=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
jobs=$(nproc)
[ "$jobs" -gt $((memory_gib / 2 + 1)) ] && jobs=$((memory_gib / 2 + 1))
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "$@" >"$root/build.log" 2>&1 ||
  { cat "$root/build.log" >&2; exit 1; }
rm -f "$root/build.log"
echo "Building (a first build takes several minutes) …"
ninja -C "$build" -j"$jobs" ${FEDGRAFT_TARGETS:-all}
