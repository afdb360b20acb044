#!/usr/bin/env bash
# Builds and runs the torch-free tests under sanitizers; not part of CI.
#   tests/sanitize.sh            both of these
#   tests/sanitize.sh address    AddressSanitizer, UBSan and LeakSanitizer: every
#                                torch-free test, daemons included
#   tests/sanitize.sh thread     ThreadSanitizer: the tests without gRPC
# Further arguments go to ctest.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
kinds="address thread"
case "${1:-}" in
  address | thread) kinds=$1; shift ;;
  -h | --help) sed -n '2,7p' "$0" | cut -c3-; exit 0 ;;
esac
"$root/deploy/install-deps.sh" --tests

# Not detect_stack_use_after_return: its stack of g++ 12 is not aligned for the
# 64-byte vectors of common/numeric.
export ASAN_OPTIONS=strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
# What ThreadSanitizer cannot know: see the file.
export TSAN_OPTIONS=suppressions=$root/tests/tsan.supp:halt_on_error=1:second_deadlock_stack=1

for kind in $kinds; do
  build=${FEDGRAFT_BUILD_DIR:-$root/build}/sanitize-$kind
  cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DFEDGRAFT_SANITIZER=$kind \
    -DFEDGRAFT_TRAINER=OFF -DFEDGRAFT_TESTS=ON >/dev/null
  if [ $kind = address ]; then
    ninja -C "$build" -j"$(nproc)"
    (cd "$build" && ctest --output-on-failure --timeout 1800 "$@")
  else
    # gRPC is not instrumented either: the tests that do not link it.
    tests="base_test runtime_test support_test crypto_test model_test numeric_test
      solve_test transfer_test
      protocol_test config_test audit_test net_test rules_test store_test
      round_test policy_test update_test agent_test simulation_test"
    ninja -C "$build" -j"$(nproc)" $tests
    (cd "$build" && ctest --output-on-failure --timeout 1800 \
      -R "^($(echo $tests | tr ' ' '|'))\$" "$@")
  fi
  echo "sanitize.sh: $kind is clean"
done
