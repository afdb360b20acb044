#!/usr/bin/env bash
# Builds the benches in Release and prints their numbers. TMPDIR chooses the disk
# on which acknowledgements are made durable.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
benches="round_bench store_bench secagg_bench"
"$root/deploy/install-deps.sh" --tests
FEDGRAFT_TARGETS="fedgraft-aggregator fedgraft-client fedgraft-null-trainer train_bench $benches" \
  "$root/deploy/build.sh" -DFEDGRAFT_TESTS=ON
bin=${FEDGRAFT_BUILD_DIR:-$root/build/release}/bin
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
for bench in $benches; do
  echo "== $bench"
  "$bin/$bench"
done
echo "== train_bench"
/usr/bin/python3 "$root/tests/bench/train_bench.py" "$bin/train_bench"
