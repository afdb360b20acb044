#pragma once

#include <string>
#include <string_view>

#include "absl/types/span.h"

// Names under which a site releases the results of its shift tests, and what
// people are told about each. Sites and aggregator share the list.

namespace fedgraft {

enum class ShiftKind {
  kCovariate,  // p(x) differs: scanner, protocol, patients
  kLabel,      // p(y) differs, p(x | y) does not: how common the findings are
  kConcept,    // p(y | x) differs: how images are read
};

struct ShiftTestSpec {
  std::string_view name;
  ShiftKind kind;
  // Whether the test counts for whether a site differs. The others are shown.
  bool decisive;
  // Of a site's false alarms over rounds, the share that its chart of this test
  // may raise; 0: it has no chart. New scanners are what happens most within a
  // run.
  double alarm_share;
  std::string_view title;
  // What it compares and what a small p says; one sentence each.
  std::string_view shows, means;
};

// The tests that say whether other scanners explain that images look different.
inline constexpr std::string_view kManufacturerTest =
    "acquisition_manufacturer";
inline constexpr std::string_view kModelTest = "acquisition_model";

// In the order in which they are shown.
absl::Span<const ShiftTestSpec> ShiftTests();
// Null: no such test.
const ShiftTestSpec* FindShiftTest(std::string_view name);
std::string_view ShiftKindName(ShiftKind kind);

// Scalars of a site, each "shift.<test>.<field>" with a field of
//   statistic  the test's own
//   dof        degrees of freedom of its null distribution
//   p          p-value
//   effect     size of the difference, comparable over sites (0: none)
// and "shift.prior.<class>", ".low", ".high": the share of a class (its index)
// among the site's records, estimated without their labels, with its 95 %
// interval; "shift.reference.<class>": the same among the other sites'.
// "shift.new_records": records that no earlier round's sketch had.
// "shift.records": all records of the sketch.
inline constexpr std::string_view kShiftPrefix = "shift.";
inline constexpr std::string_view kShiftNewRecords = "shift.new_records";
inline constexpr std::string_view kShiftRecords = "shift.records";
std::string ShiftScalar(std::string_view test, std::string_view field);
std::string PriorScalar(int class_index);

// Federated model against a model of the site's own records, on the site's
// held-out records: "transfer.delta" (above 0: the federated one is better),
// ".low", ".high" (95 %), ".p".
inline constexpr std::string_view kTransferPrefix = "transfer.";

// By the 95 % interval of the difference: harms if all of it is below 0.
enum class TransferVerdict { kHelps, kNoDifference, kHarms };
TransferVerdict VerdictOfInterval(double low, double high);
std::string_view TransferVerdictName(TransferVerdict verdict);

}  // namespace fedgraft
