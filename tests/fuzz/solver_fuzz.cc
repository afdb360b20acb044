// DecodeSolvePoint: what an aggregator asks of a site in a solve round; and
// DecodeSolverState: the solver's memory in the aggregator's log.

#include "common/solve/head_solver.h"
#include "common/solve/solve_statistics.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const ByteSpan bytes(data, size);
  if (const auto point = DecodeSolvePoint(bytes); point.ok()) {
    ++fuzz::accepted;
    const Bytes once = EncodeSolvePoint(*point);
    const auto again = DecodeSolvePoint(once);
    FG_CHECK(again.ok());
    FG_CHECK(EncodeSolvePoint(*again) == once);
    const SolveLayout layout(*point);
    FG_CHECK(layout.words() > 0 && layout.words() <= layout.count());
  } else {
    fuzz::CheckRefusal(point.status(), absl::StatusCode::kInvalidArgument);
  }
  if (const auto state = DecodeSolverState(bytes); state.ok()) {
    ++fuzz::accepted;
    const Bytes once = EncodeSolverState(*state);
    const auto again = DecodeSolverState(once);
    FG_CHECK(again.ok());
    FG_CHECK(EncodeSolverState(*again) == once);
  } else {
    fuzz::CheckRefusal(state.status(), absl::StatusCode::kDataLoss);
  }
  return 0;
}
