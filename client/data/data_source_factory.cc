#include "client/data/data_source_factory.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/data/embeddings_source.h"
#include "client/data/folder_source.h"
#include "client/data/npz_source.h"
#include "client/data/phantom_source.h"
#include "client/data/table_source.h"
#include "common/base/status_macros.h"
#include "proto/config.pb.h"

namespace fedgraft {
namespace {

using Opened = absl::StatusOr<std::unique_ptr<DataSource>>;

absl::Status RequirePath(const pb::DataConfig& config) {
  if (!config.path().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("data.path: expected a file for kind ", config.kind(),
                   ", found nothing"));
}

uint64_t PixelsMax(const pb::DataConfig& config) {
  return uint64_t{1'000'000} *
         static_cast<uint64_t>(std::max(config.image_megapixels_max(), 0));
}

Opened OpenNpz(const pb::DataConfig& config, const DataContext& context) {
  FG_RETURN_IF_ERROR(RequirePath(config));
  NpzOptions options;
  options.path = config.path();
  options.split_seed = config.split_seed();
  options.shard_index = config.shard_index();
  options.shard_count = config.shard_count();
  options.shard_test = config.shard_test();
  options.pixels_max = PixelsMax(config);
  return OpenNpzSource(options, context);
}

SplitFractions FractionsOf(const pb::DataConfig& config) {
  return {config.val_fraction(), config.test_fraction(), config.split_seed()};
}

ManifestColumns ColumnsOf(const pb::DataConfig& config) {
  return {config.image_column(),   config.label_column(),
          config.patient_column(), config.split_column(),
          config.filter_column(),  config.filter_value()};
}

Opened OpenFolder(const pb::DataConfig& config, const DataContext& context) {
  FG_RETURN_IF_ERROR(RequirePath(config));
  FolderOptions options;
  options.path = config.path();
  options.root = config.root();
  options.columns = ColumnsOf(config);
  options.fractions = FractionsOf(config);
  options.pixels_max = PixelsMax(config);
  return OpenFolderSource(options, context);
}

Opened OpenPhantom(const pb::DataConfig& config, const DataContext& context) {
  const pb::PhantomConfig& phantom = config.phantom();
  PhantomOptions options;
  options.seed = phantom.seed();
  options.train = phantom.train();
  options.val = phantom.val();
  options.test = phantom.test();
  PhantomSpec& spec = options.spec;
  spec.size = phantom.size();
  spec.prevalence = phantom.prevalence();
  spec.scanner = {phantom.blur_sigma(), phantom.photons(), phantom.gamma(),
                  phantom.gain()};
  spec.lesion_contrast = phantom.lesion_contrast();
  spec.lesion_radius_min = phantom.lesion_radius_min();
  spec.lesion_radius_max = phantom.lesion_radius_max();
  spec.reader_radius_min = phantom.reader_radius_min();
  return OpenPhantomSource(options, context);
}

Opened OpenEmbeddings(const pb::DataConfig& config,
                      const DataContext& context) {
  FG_RETURN_IF_ERROR(RequirePath(config));
  return OpenEmbeddingsSource({config.path(), FractionsOf(config)}, context);
}

absl::StatusOr<MissingPolicy> MissingOf(const std::string& word) {
  if (word == "error") return MissingPolicy::kError;
  if (word == "mean") return MissingPolicy::kMean;
  if (word == "zero") return MissingPolicy::kZero;
  if (word == "indicator") return MissingPolicy::kIndicator;
  return absl::InvalidArgumentError(
      absl::StrCat("data.table.missing: expected error, mean, zero or "
                   "indicator, found \"",
                   word, "\""));
}

Opened OpenTable(const pb::DataConfig& config, const DataContext& context) {
  FG_RETURN_IF_ERROR(RequirePath(config));
  TableOptions options;
  options.path = config.path();
  options.columns = ColumnsOf(config);
  options.columns.image.clear();
  options.fractions = FractionsOf(config);
  const pb::TableConfig& table = config.table();
  FG_ASSIGN_OR_RETURN(options.schema.missing, MissingOf(table.missing()));
  options.schema.numeric.assign(table.numeric().begin(), table.numeric().end());
  for (const pb::CategoryConfig& column : table.categories()) {
    options.schema.categorical.push_back(
        {column.column(),
         {column.values().begin(), column.values().end()},
         column.other()});
  }
  return OpenTableSource(options, context);
}

struct Entry {
  std::string_view kind;
  Opened (*open)(const pb::DataConfig&, const DataContext&);
};

// The registry of data sources.
constexpr Entry kSources[] = {{"npz", OpenNpz},
                              {"folder", OpenFolder},
                              {"phantom", OpenPhantom},
                              {"embeddings_npz", OpenEmbeddings},
                              {"table", OpenTable}};

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenDataSource(
    const pb::DataConfig& config, const DataContext& context) {
  for (const Entry& entry : kSources) {
    if (entry.kind == config.kind()) return entry.open(config, context);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "data.kind: expected ", absl::StrJoin(DataSourceKinds(), ", "),
      "; found \"", config.kind(), "\""));
}

std::vector<std::string> DataSourceKinds() {
  std::vector<std::string> kinds;
  for (const Entry& entry : kSources) kinds.emplace_back(entry.kind);
  return kinds;
}

}  // namespace fedgraft
