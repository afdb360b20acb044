#pragma once

#include "client/shift/shift_test.h"

namespace fedgraft {

// "covariate_mmd": kernel two-sample test of the embedding
// (common/shift/mmd.h). Effect: the unbiased squared distance, 0 if negative.
class EmbeddingShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

// "covariate_adjusted": the same with every record weighted so that label shift
// is undone, as the features alone show it: under label shift they are a
// mixture of the others' classes in other shares q, so that records weighted by
// 1 / sum_c (q_c / p_c) P(c | x) are distributed as the others'. P(c | x) is
// the others' head's, q its likeliest shares at the site. No label of the site
// counts, so that how it reads does not, either. That q is estimated is part of
// each record's influence on the weighted mean, and so of the test's
// covariance.
class AdjustedShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

// "concept_conditional": the kernel test within each class of enough records;
// p is that of the least of independent p-values (Sidak). Effect: of the class
// with the least.
class ConditionalShiftTest : public ShiftTest {
 public:
  static constexpr int64_t kRecordsMin = 20;  // of a class, on either side
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

// "representation_frechet": Frechet distance on as many axes of the space as
// the site has tens of records, less its null mean by parametric bootstrap
// (effect). p from a scaled chi-square with the bootstrap's mean and deviation.
class FrechetShiftTest : public ShiftTest {
 public:
  std::vector<std::string_view> names() const override;
  absl::Status Run(const SiteView& view, ShiftScalars& scalars) const override;
};

}  // namespace fedgraft
