#include "client/data/phantom_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/data/seeded_random.h"
#include "client/data/splits.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

class PhantomSource final : public DataSource {
 public:
  PhantomSource(PhantomGenerator generator, uint64_t seed)
      : generator_(std::move(generator)), seed_(seed) {}

  absl::Status Fill(const PhantomOptions& options, const DataContext& context) {
    for (const Split split : kAllSplits) {
      const int count = split == Split::kTrain ? options.train
                        : split == Split::kVal ? options.val
                                               : options.test;
      if (count < 0) {
        return absl::InvalidArgumentError(
            absl::StrCat("phantom.", SplitName(split),
                         ": expected a number of images, found ", count));
      }
      for (int i = 0; i < count; ++i) {
        const PhantomFinding finding = generator_.Find(Key(split, i));
        samples_[split].push_back(
            {IsUnlabelled(context) ? -1 : finding.label, "",
             absl::StrCat(SplitName(split), "[", i, "]")});
      }
    }
    return CheckSplits("phantom", context, samples_, warnings_);
  }

  const std::vector<Sample>& Samples(Split split) const override {
    return samples_[split];
  }
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override {
    FG_CHECK(index < samples_[split].size());
    return generator_.Render(Key(split, index));
  }

 private:
  uint64_t Key(Split split, uint64_t index) const {
    return MixSeed({seed_, static_cast<uint64_t>(split), index});
  }

  const PhantomGenerator generator_;
  const uint64_t seed_;
  SplitSamples samples_;
  std::vector<std::string> warnings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenPhantomSource(
    const PhantomOptions& options, const DataContext& context) {
  if (context.classes.size() != 2 && !IsUnlabelled(context)) {
    return absl::InvalidArgumentError(
        absl::StrCat("phantom: expected a plan of 2 classes, found ",
                     context.classes.size()));
  }
  FG_ASSIGN_OR_RETURN(PhantomGenerator generator,
                      PhantomGenerator::Create(options.spec));
  auto source =
      std::make_unique<PhantomSource>(std::move(generator), options.seed);
  FG_RETURN_IF_ERROR(source->Fill(options, context));
  return std::unique_ptr<DataSource>(std::move(source));
}

}  // namespace fedgraft
