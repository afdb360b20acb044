#include "client/data/manifest.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/data/splits.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);

// Where the columns stand in this table.
struct ColumnIndices {
  size_t image = kNone, label = kNone, patient = kNone, split = kNone,
         filter = kNone;
};

absl::Status FindColumn(const CsvTable& table, const std::string& name,
                        bool required, size_t& index) {
  if (name.empty()) return absl::OkStatus();
  const absl::StatusOr<size_t> found = ColumnIndex(table, name);
  if (found.ok()) index = *found;
  return required ? found.status() : absl::OkStatus();
}

absl::StatusOr<ColumnIndices> FindColumns(const CsvTable& table,
                                          const ManifestColumns& columns,
                                          const DataContext& context) {
  const bool train = context.use == DataUse::kTrain;
  const bool labels = !IsUnlabelled(context);
  if (train && labels && columns.label.empty()) {
    return absl::InvalidArgumentError(
        "data: expected label_column, found an empty name");
  }
  ColumnIndices indices;
  FG_RETURN_IF_ERROR(FindColumn(table, columns.image, true, indices.image));
  if (labels) {
    FG_RETURN_IF_ERROR(FindColumn(table, columns.label, train, indices.label));
  }
  FG_RETURN_IF_ERROR(
      FindColumn(table, columns.patient, train && labels, indices.patient));
  FG_RETURN_IF_ERROR(FindColumn(table, columns.split, train, indices.split));
  FG_RETURN_IF_ERROR(FindColumn(table, columns.filter, true, indices.filter));
  return indices;
}

std::string DescribeClasses(const std::vector<std::string>& classes) {
  constexpr size_t kShown = 10;
  std::string names =
      absl::StrJoin(classes.begin(),
                    classes.begin() + std::min(classes.size(), kShown), ", ");
  if (classes.size() > kShown) names += ", ...";
  return absl::StrCat("a class (", names, ") or a number 0 to ",
                      classes.size() - 1);
}

absl::StatusOr<int> ParseLabel(size_t line, const ManifestColumns& columns,
                               const std::string& text,
                               const DataContext& context) {
  if (text.empty() && context.use == DataUse::kPredict) return -1;
  const auto& classes = context.classes;
  const auto named = std::find(classes.begin(), classes.end(), text);
  if (named != classes.end()) return static_cast<int>(named - classes.begin());
  int number = -1;
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(),
                                                   absl::ascii_isdigit);
  if (digits && absl::SimpleAtoi(text, &number) &&
      number < static_cast<int>(classes.size())) {
    return number;
  }
  return ManifestError(line, columns.label, DescribeClasses(classes), text);
}

absl::StatusOr<ManifestRow> ReadRow(const CsvRow& row,
                                    const ColumnIndices& indices,
                                    const ManifestColumns& columns,
                                    const DataContext& context) {
  ManifestRow result;
  result.line = row.line;
  result.image = indices.image == kNone ? absl::StrCat("line ", row.line)
                                        : row.fields[indices.image];
  if (result.image.empty()) {
    return ManifestError(row.line, columns.image, "the path of an image", "");
  }
  if (indices.label != kNone) {
    FG_ASSIGN_OR_RETURN(
        result.label,
        ParseLabel(row.line, columns, row.fields[indices.label], context));
  }
  if (indices.patient != kNone) {
    result.patient = row.fields[indices.patient];
    if (result.patient.empty() && context.use == DataUse::kTrain &&
        !IsUnlabelled(context)) {
      return ManifestError(row.line, columns.patient, "the key of a patient",
                           "");
    }
  }
  if (indices.split != kNone && context.use == DataUse::kTrain) {
    const std::string& text = row.fields[indices.split];
    for (const Split split : kAllSplits) {
      if (text == SplitName(split)) result.split = split;
    }
    if (!result.split) {
      return ManifestError(row.line, columns.split, "train, val or test", text);
    }
  }
  return result;
}

// No image twice, no patient in several splits.
class UniquenessCheck {
 public:
  explicit UniquenessCheck(const ManifestColumns& columns)
      : columns_(columns) {}

  absl::Status Add(const ManifestRow& row) {
    const auto [image, is_new] = images_.try_emplace(row.image, row.line);
    if (!is_new) {
      return ManifestError(
          row.line, columns_.image,
          absl::StrCat("an image that is not named yet (see line ",
                       image->second, ")"),
          row.image);
    }
    if (row.patient.empty() || !row.split) return absl::OkStatus();
    const auto [patient, first] = patients_.try_emplace(row.patient, row);
    if (first || patient->second.split == row.split) return absl::OkStatus();
    return ManifestError(row.line, columns_.split,
                         absl::StrCat(SplitName(*patient->second.split),
                                      ", as for the same patient in line ",
                                      patient->second.line),
                         SplitName(*row.split));
  }

 private:
  const ManifestColumns& columns_;
  std::map<std::string, size_t> images_;  // -> line
  std::map<std::string, ManifestRow> patients_;
};

}  // namespace

absl::Status ManifestError(size_t line, std::string_view column,
                           std::string_view expected, std::string_view found) {
  return absl::InvalidArgumentError(absl::StrCat(
      "line ", line, ", column \"", absl::CHexEscape(std::string(column)),
      "\": expected ", std::string(expected), ", found \"",
      absl::CHexEscape(std::string(found.substr(0, 200))), "\""));
}

absl::StatusOr<size_t> ColumnIndex(const CsvTable& table,
                                   const std::string& name) {
  const auto found = std::find(table.header.begin(), table.header.end(), name);
  if (found != table.header.end()) {
    return static_cast<size_t>(found - table.header.begin());
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "header: expected a column \"", absl::CHexEscape(name), "\", found ",
      absl::CHexEscape(absl::StrJoin(table.header, ", "))));
}

absl::StatusOr<std::vector<ManifestRow>> ParseManifest(
    std::string_view text, const ManifestColumns& columns,
    const DataContext& context) {
  if (columns.image.empty() ||
      (context.use == DataUse::kTrain && !IsUnlabelled(context) &&
       columns.label.empty())) {
    return absl::InvalidArgumentError(
        "data: expected image_column and label_column, found an empty name");
  }
  FG_ASSIGN_OR_RETURN(const CsvTable table, ParseCsv(text));
  return ManifestRows(table, columns, context);
}

absl::StatusOr<std::vector<ManifestRow>> ManifestRows(
    const CsvTable& table, const ManifestColumns& columns,
    const DataContext& context) {
  FG_ASSIGN_OR_RETURN(const ColumnIndices indices,
                      FindColumns(table, columns, context));
  UniquenessCheck unique(columns);
  std::vector<ManifestRow> rows;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const CsvRow& row = table.rows[i];
    if (indices.filter != kNone &&
        row.fields[indices.filter] != columns.filter_value) {
      continue;
    }
    FG_ASSIGN_OR_RETURN(ManifestRow result,
                        ReadRow(row, indices, columns, context));
    result.index = i;
    FG_RETURN_IF_ERROR(unique.Add(result));
    rows.push_back(std::move(result));
  }
  if (rows.empty() && indices.filter != kNone && !table.rows.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "expected rows with \"", absl::CHexEscape(columns.filter_value),
        "\" in column \"", absl::CHexEscape(columns.filter), "\", found none"));
  }
  return rows;
}

void AssignSplits(const SplitFractions& fractions, DataUse use,
                  bool has_split_column, std::vector<ManifestRow>& rows) {
  if (use == DataUse::kPredict) {
    for (ManifestRow& row : rows) row.split = Split::kTest;
    return;
  }
  if (has_split_column) return;
  std::vector<SplitCandidate> candidates;
  for (const ManifestRow& row : rows) {
    candidates.push_back(
        {row.patient.empty() ? row.image : row.patient, row.label});
  }
  const std::vector<Split> splits = SplitByPatient(candidates, fractions);
  for (size_t i = 0; i < rows.size(); ++i) rows[i].split = splits[i];
}

absl::Status CheckFractions(const SplitFractions& fractions) {
  if (fractions.val >= 0 && fractions.test >= 0 &&
      fractions.val + fractions.test < 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "data: expected val_fraction + test_fraction below 1, found ",
      fractions.val, " and ", fractions.test));
}

}  // namespace fedgraft
