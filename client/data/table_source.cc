#include "client/data/table_source.h"

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/data/csv.h"
#include "client/data/feature_source.h"
#include "client/data/read_file.h"
#include "client/data/splits.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr uint64_t kTableBytesMax = uint64_t{1} << 30;

// Mean of each feature over the values that are there; NaN if there is none.
class TrainingMeans {
 public:
  explicit TrainingMeans(size_t dim) : sums_(dim, 0), counts_(dim, 0) {}

  void Add(const std::vector<float>& values) {
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i])) continue;
      sums_[i % sums_.size()] += values[i];
      ++counts_[i % sums_.size()];
    }
  }
  std::optional<float> Of(size_t feature) const {
    if (counts_[feature] == 0) return std::nullopt;
    return static_cast<float>(sums_[feature] /
                              static_cast<double>(counts_[feature]));
  }

 private:
  std::vector<double> sums_;
  std::vector<uint64_t> counts_;
};

absl::Status FillIn(const TrainingMeans& means, const TableEncoder& encoder,
                    FeatureSet& set) {
  for (const Split split : kAllSplits) {
    std::vector<float>& values = set.Values(split);
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isnan(values[i])) continue;
      const std::optional<float> mean = means.Of(i % encoder.dim());
      if (!mean) {
        return absl::FailedPreconditionError(absl::StrCat(
            set.samples[split][i / encoder.dim()].name, ", column \"",
            absl::CHexEscape(encoder.ColumnOf(i % encoder.dim())),
            "\": a cell is missing and no training row has a value to take the "
            "mean of; expected training rows, or data.table.missing: zero or "
            "indicator"));
      }
      values[i] = *mean;
    }
  }
  return absl::OkStatus();
}

// For prediction every row is of the test split, but those marked as training
// rows in the table are still what the mean is taken from.
absl::Status AddMarkedRows(const CsvTable& table, const TableOptions& options,
                           const TableEncoder& encoder, TrainingMeans& means) {
  if (options.columns.split.empty()) return absl::OkStatus();
  const absl::StatusOr<size_t> split =
      ColumnIndex(table, options.columns.split);
  if (!split.ok()) return absl::OkStatus();  // it may be absent, as the labels
  std::vector<float> values;
  for (const CsvRow& row : table.rows) {
    if (row.fields[*split] != SplitName(Split::kTrain)) continue;
    values.clear();
    FG_RETURN_IF_ERROR(encoder.Append(row, values));
    means.Add(values);
  }
  return absl::OkStatus();
}

absl::StatusOr<FeatureSet> Read(const TableOptions& options,
                                const DataContext& context) {
  FG_ASSIGN_OR_RETURN(const Bytes text,
                      ReadDataFile(options.path, kTableBytesMax));
  FG_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(AsText(text)));
  FG_ASSIGN_OR_RETURN(const TableEncoder encoder,
                      TableEncoder::Create(options.schema, table));
  FG_ASSIGN_OR_RETURN(std::vector<ManifestRow> rows,
                      ManifestRows(table, options.columns, context));
  AssignSplits(options.fractions, context.use, !options.columns.split.empty(),
               rows);
  FeatureSet set;
  set.dim = static_cast<int>(encoder.dim());
  for (ManifestRow& row : rows) {
    FG_RETURN_IF_ERROR(
        encoder.Append(table.rows[row.index], set.Values(*row.split)));
    set.samples[*row.split].push_back(
        {row.label, std::move(row.patient), std::move(row.image)});
  }
  if (options.schema.missing == MissingPolicy::kMean) {
    TrainingMeans means(encoder.dim());
    if (context.use == DataUse::kTrain) {
      means.Add(set.Values(Split::kTrain));
    } else {
      FG_RETURN_IF_ERROR(AddMarkedRows(table, options, encoder, means));
    }
    FG_RETURN_IF_ERROR(FillIn(means, encoder, set));
  }
  return set;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenTableSource(
    const TableOptions& options, const DataContext& context) {
  FG_RETURN_IF_ERROR(CheckFractions(options.fractions));
  absl::StatusOr<FeatureSet> set = Read(options, context);
  if (!set.ok()) return Annotate(set.status(), options.path);
  return MakeFeatureSource(*std::move(set), options.path, context);
}

}  // namespace fedgraft
