#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "client/train/activation_store.h"
#include "client/train/session.h"
#include "client/train/trained_model.h"
#include "common/config/plan.h"

namespace fedgraft {

// More records than this are sampled: a backward pass per record and class.
inline constexpr int64_t kFisherRecordsMax = 2048;

// Diagonal Fisher information per record of the model's parameters, at their
// values now, in evaluation mode. For each parameter w, the mean over records x
// of
//   exact      sum over classes c of p_c(x) (d log p_c(x) / dw)^2
//   empirical  (d log p_y(x) / dw)^2 with the record's label y
// (Kunstner, Hennig and Balles, "Limitations of the empirical Fisher
// approximation", 2019, equations 3 and 4). Squares are of single records:
// squaring a batch's mean gradient would give about 1 / batch of it. A linear
// head alone is done in closed form: for its weights exact is
// mean p_c (1 - p_c) f_j^2.
//
// Records beyond kFisherRecordsMax: as many are drawn by `seed`. F32, in the
// shapes of the parameters. FAILED_PRECONDITION: no records, or not finite.
absl::StatusOr<NamedValues> DiagonalFisher(const TrainedModel& model,
                                           FisherKind kind,
                                           const ActivationStore& data,
                                           uint64_t seed,
                                           const ProgressSink& progress);

// Its sum over all records, F64: with more than kFisherRecordsMax, the mean of
// those drawn times the number of records.
absl::StatusOr<NamedValues> FisherSums(const TrainedModel& model,
                                       FisherKind kind,
                                       const ActivationStore& data,
                                       uint64_t seed,
                                       const ProgressSink& progress);

}  // namespace fedgraft
