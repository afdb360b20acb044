#!/usr/bin/env bash
# Builds the benches in Release, prints their numbers, and then one table of all
# ratios. TMPDIR chooses the disk on which acknowledgements are made durable; the
# large round needs 6 GB there. Arguments: names of benches (default: all).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
all="reduce_grid_bench simulated_sites_bench round_bench large_round_bench look_bench store_bench secagg_bench masked_round_bench"
benches=${*:-$all}
"$root/deploy/install-deps.sh" --tests
FEDGRAFT_TARGETS="fedgraft-aggregator fedgraft-client fedgraft-trainer fedgraft-null-trainer train_bench $benches" \
  "$root/deploy/build.sh" -DFEDGRAFT_TESTS=ON
bin=${FEDGRAFT_BUILD_DIR:-$root/build/release}/bin
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
echo "$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), load $(cut -d ' ' -f 1 /proc/loadavg)"
for bench in $benches; do
  echo "== $bench"
  "$bin/$bench" | tee >(grep '^| ' >>"$rows" || true)
done
if [ $# -eq 0 ]; then
  echo "== train_bench"
  /usr/bin/python3 "$root/tests/bench/train_bench.py" "$bin/train_bench"
fi
echo
echo "| what | measured | yardstick | ratio | target |"
echo "| --- | --- | --- | --- | --- |"
cat "$rows"
