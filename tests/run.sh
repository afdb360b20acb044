#!/usr/bin/env bash
# Installs what is missing, builds, runs every test.
#   tests/run.sh              all tests
#   tests/run.sh -L unit      only those with a label: unit, torch,
#                             integration, simulation (any ctest option works)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
"$root/deploy/install-deps.sh" --tests
"$root/deploy/build.sh" -DFEDGRAFT_TESTS=ON
export FEDGRAFT_DATA=${FEDGRAFT_DATA:-$root/../shared/data}
[ -d "$FEDGRAFT_DATA" ] ||
  echo "FEDGRAFT_DATA ($FEDGRAFT_DATA) does not exist: tests on real data will skip."
cd "${FEDGRAFT_BUILD_DIR:-$root/build/release}"
exec ctest --output-on-failure --timeout 900 "$@"
