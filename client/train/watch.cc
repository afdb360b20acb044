#include "client/train/watch.h"

#include <torch/torch.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "client/train/guard.h"
#include "client/train/path_io.h"
#include "client/train/progress_part.h"
#include "client/train/site_model.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

// Of the reference's random features and of resamples: charts follow one
// statistic.
constexpr uint64_t kSeed = 1;

struct WatchedData {
  Digest model;
  bool trains_features = false;
  DescribedRecords training, validation, arrived;

  // What the features were not fitted to.
  const DescribedRecords& Reference() const {
    return trains_features ? validation : training;
  }
};

ByteSpan BytesOf(const std::vector<double>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(double)};
}

absl::StatusOr<WatchedData> Describe(const WatchOptions& options,
                                     const DataSource& own,
                                     const DataSource& arrived,
                                     const ProgressSink& progress) {
  WatchedData data;
  std::unique_ptr<FeatureCache> cache;
  if (!options.cache.folder.empty()) {
    FG_ASSIGN_OR_RETURN(cache, FeatureCache::Open(options.cache));
  }
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<SiteModel> model,
                      SiteModel::Open(options.model));
  data.model = model->digest();
  data.trains_features = model->trains_features();
  const auto describe = [&](const DataSource& source, Split split,
                            FeatureCache* kept, double begin, double end) {
    return model->Describe(source, split, kept, options.cache.half,
                           Part(progress, begin, end));
  };
  if (!data.trains_features) {
    FG_ASSIGN_OR_RETURN(data.training,
                        describe(own, Split::kTrain, cache.get(), 0, 0.4));
  }
  FG_ASSIGN_OR_RETURN(data.validation,
                      describe(own, Split::kVal, cache.get(), 0.4, 0.6));
  // New records are looked at once.
  FG_ASSIGN_OR_RETURN(data.arrived,
                      describe(arrived, Split::kTest, nullptr, 0.6, 1));
  return data;
}

// Of the model and the own records: with others, charts would see a change.
std::string HistoryName(const WatchedData& data) {
  const Digest digest =
      Sha256(ByteWriter()
                 .Raw(data.model.bytes)
                 .Raw(Sha256(BytesOf(data.Reference().features)).bytes)
                 .Raw(Sha256(BytesOf(data.validation.outputs)).bytes)
                 .bytes());
  return absl::StrCat(digest.Short(), ".json");
}

absl::Status UpdateHistory(const WatchOptions& options, const WatchedData& data,
                           WatchOutcome& outcome) {
  const std::string name = HistoryName(data);
  outcome.history_path = absl::StrCat(options.history_folder, "/", name);
  FG_ASSIGN_OR_RETURN(const auto files,
                      PosixFileStore::Open(options.history_folder));
  WatchHistory history;
  const absl::StatusOr<Bytes> content = ReadAll(*files, name);
  if (content.ok()) {
    FG_ASSIGN_OR_RETURN(
        history, WatchHistory::Decode(AsText(*content), outcome.history_path));
  } else if (!absl::IsNotFound(content.status())) {
    return content.status();
  }
  FG_ASSIGN_OR_RETURN(const bool is_new,
                      history.Add(Sha256(BytesOf(data.arrived.features)),
                                  data.arrived.count, outcome.report));
  outcome.is_known_batch = !is_new;
  if (options.acknowledges) history.Acknowledge();
  outcome.batches = history.batches();
  outcome.charts = history.Charts();
  if (!options.remembers) return absl::OkStatus();
  return WriteAtomically(*files, name, AsBytes(history.Encode()));
}

}  // namespace

bool WatchOutcome::IsAlarm() const {
  return report.Differs() || report.performance_falls ||
         std::any_of(charts.begin(), charts.end(),
                     [](const WatchChart& chart) { return chart.alarmed; });
}

absl::StatusOr<WatchOutcome> Watch(const WatchOptions& options,
                                   const DataSource& own,
                                   const DataSource& arrived,
                                   const ProgressSink& progress) {
  FG_ASSIGN_OR_RETURN(const WatchedData data, CatchTorch([&] {
                        return Describe(options, own, arrived, progress);
                      }));
  WatchOutcome outcome;
  outcome.model = data.model;
  outcome.arrived = data.arrived.count;
  outcome.reference = data.Reference().count;
  outcome.validation = data.validation.count;
  outcome.reference_is_validation = data.trains_features;
  const LabelledOutputs validation{data.validation.Outputs(),
                                   data.validation.labels};
  FG_ASSIGN_OR_RETURN(
      outcome.report,
      WatchData({data.Reference().Features(), data.Reference().Acquisition(),
                 validation},
                {data.arrived.Features(), data.arrived.Outputs(),
                 data.arrived.Acquisition()},
                options.level, kSeed));
  FG_RETURN_IF_ERROR(UpdateHistory(options, data, outcome));
  return outcome;
}

}  // namespace fedgraft
