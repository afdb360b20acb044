#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/csv.h"
#include "client/data/data_source.h"
#include "client/data/patient_split.h"

namespace fedgraft {

// Which columns of the table mean what. Empty: there is no such column.
struct ManifestColumns {
  std::string image = "path", label = "label";
  std::string patient, split;
  // Rows with another value in this column are left out, unchecked.
  std::string filter, filter_value;
};

struct ManifestRow {
  size_t line = 0;
  size_t index = 0;   // in the table's rows
  std::string image;  // as written; "line 7" without an image column
  int label = -1;
  std::string patient;
  std::optional<Split> split;  // present if there is a split column
};

// The rows of a CSV table. A label is the name of a class or, where no
// class has that name, its number 0..C-1. For DataUse::kPredict the label
// column may be missing and its cells empty; without classes it is not read
// and all labels are -1. Cells are taken as written; spaces count.
//
// INVALID_ARGUMENT names line and column, what was expected and what was
// found (never the key of a patient): a column that is not there, an unknown
// label or split, an empty path or patient, an image named twice, a patient
// with rows in several splits.
absl::StatusOr<std::vector<ManifestRow>> ParseManifest(
    std::string_view text, const ManifestColumns& columns,
    const DataContext& context);
// The same of a table that is parsed already; `columns.image` may be empty.
absl::StatusOr<std::vector<ManifestRow>> ManifestRows(
    const CsvTable& table, const ManifestColumns& columns,
    const DataContext& context);

// The index of a column, or INVALID_ARGUMENT naming those that there are.
absl::StatusOr<size_t> ColumnIndex(const CsvTable& table,
                                   const std::string& name);

// Gives each row a split: for kPredict test, else by patient (rows without one
// are patients of their own) unless there is a split column.
void AssignSplits(const SplitFractions& fractions, DataUse use,
                  bool has_split_column, std::vector<ManifestRow>& rows);
// INVALID_ARGUMENT: fractions that leave nothing for training.
absl::Status CheckFractions(const SplitFractions& fractions);

// "line 7, column "label": expected …, found …" as INVALID_ARGUMENT.
absl::Status ManifestError(size_t line, std::string_view column,
                           std::string_view expected, std::string_view found);

}  // namespace fedgraft
