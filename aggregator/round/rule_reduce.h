#pragma once

#include <functional>
#include <memory>

#include "absl/types/span.h"
#include "aggregator/rules/rule_pass.h"
#include "aggregator/store/reduce.h"
#include "common/runtime/executor.h"

namespace fedgraft {

// Brings the contributions' shards to a rule, on all workers (on the calling
// one if there is a single shard): once, or twice for a rule that selects.
// `values` becomes the next model in place and outlives `done`, which runs once
// on the last worker. Errors as ReduceSums.
void ReduceByRule(Executor& executor, std::shared_ptr<RulePass> pass,
                  ReduceJob job, absl::Span<float> values,
                  std::function<void(ReduceOutcome)> done);

}  // namespace fedgraft
