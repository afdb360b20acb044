#include "aggregator/shift/triage.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace fedgraft {
namespace {

using Cells = std::map<std::string, ShiftCell>;

bool Differs(const Cells& cells, std::string_view test) {
  const auto cell = cells.find(std::string(test));
  return cell != cells.end() && cell->second.differs;
}

bool Has(const std::vector<ShiftKind>& kinds, ShiftKind kind) {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

double PValue(const Cells& cells, std::string_view test) {
  const auto cell = cells.find(std::string(test));
  return cell == cells.end() ? 1 : cell->second.p;
}

// The tests that speak for each kind, given the others; none if the site does
// not differ.
std::vector<std::string_view> Witnesses(const Cells& cells) {
  std::vector<std::string_view> found;
  if (std::none_of(cells.begin(), cells.end(),
                   [](const auto& cell) { return cell.second.differs; })) {
    return found;
  }
  const bool is_concept = PValue(cells, "concept_score") <= kConceptP;
  const bool is_covariate = PValue(cells, "covariate_adjusted") <= kCovariateP;
  const std::string_view label = !is_concept    ? "label_score"
                                 : is_covariate ? "label_profiled"
                                                : "label_em";
  const bool is_label = PValue(cells, label) <= kLabelP &&
                        (!is_concept || PValue(cells, "label_em") <= kLabelP);
  if (is_covariate) found.push_back("covariate_adjusted");
  if (!is_label) {
    for (const ShiftTestSpec& test : ShiftTests()) {
      if (test.name.starts_with("acquisition_") && Differs(cells, test.name)) {
        found.push_back(test.name);
      }
    }
  }
  if (is_label) found.push_back(label);
  if (is_concept) found.push_back("concept_score");
  if (!found.empty()) return found;
  if (PValue(cells, label) < PValue(cells, "covariate_adjusted")) {
    return {label};
  }
  // A site of one class has neither.
  for (std::string_view test :
       {"covariate_adjusted", "covariate_mmd", "label_counts"}) {
    if (cells.contains(std::string(test))) return {test};
  }
  return found;
}

std::string Verdict(const std::vector<ShiftKind>& kinds) {
  if (kinds.empty()) return "no shift";
  std::vector<std::string> names;
  for (ShiftKind kind : kinds) names.emplace_back(ShiftKindName(kind));
  const std::string last = names.back();
  names.pop_back();
  return absl::StrCat(absl::StrJoin(names, ", "), names.empty() ? "" : " and ",
                      last, " shift");
}

ShiftRemedy Remedy(const std::vector<ShiftKind>& kinds) {
  if (kinds.size() == 3) return ShiftRemedy::kReview;
  if (Has(kinds, ShiftKind::kConcept)) return ShiftRemedy::kPersonalHead;
  if (Has(kinds, ShiftKind::kCovariate)) return ShiftRemedy::kNormalization;
  if (Has(kinds, ShiftKind::kLabel)) return ShiftRemedy::kPriorCorrection;
  return ShiftRemedy::kNone;
}

std::string Advice(const std::vector<ShiftKind>& kinds) {
  std::vector<std::string> advice;
  if (kinds.size() == 3) {
    advice.push_back(
        "Everything differs: look at this site's images and labels before "
        "anything is trained on them.");
  }
  if (Has(kinds, ShiftKind::kConcept)) {
    advice.push_back(
        "Compare how this site reads and labels images; if both are right, "
        "give it a head of its own (personal head or Ditto).");
  }
  if (Has(kinds, ShiftKind::kCovariate)) {
    advice.push_back(
        "Check scanner, protocol and preprocessing first; if they stay, train "
        "deeper with local normalisation (BatchNorm local) or give it a head "
        "of its own.");
  }
  if (Has(kinds, ShiftKind::kLabel)) {
    advice.push_back(
        "Correct predictions for this site's base rates, or fit an intercept "
        "of its own.");
  }
  if (advice.empty()) advice.push_back("Nothing to do.");
  return absl::StrJoin(advice, " ");
}

std::string Reason(const Cells& cells,
                   const std::vector<std::string_view>& witnesses) {
  if (witnesses.empty()) {
    return "No test tells this site from the others.";
  }
  std::vector<std::string> parts;
  for (std::string_view name : witnesses) {
    const ShiftCell& cell = cells.at(std::string(name));
    parts.push_back(absl::StrFormat("%s (p %.2g, effect %.2g)",
                                    std::string(FindShiftTest(name)->title),
                                    cell.p, cell.effect));
  }
  return absl::StrCat("Differs from the other sites in ",
                      absl::StrJoin(parts, "; "), ".");
}

// Why images look different, where scanners tell.
std::string Scanners(const Cells& cells, const std::vector<ShiftKind>& kinds) {
  if (!Has(kinds, ShiftKind::kCovariate)) return "";
  std::vector<std::string> parts;
  for (std::string_view test : {kManufacturerTest, kModelTest}) {
    if (!(PValue(cells, test) <= kScannersP)) continue;
    parts.push_back(absl::StrFormat("%s p %.2g",
                                    std::string(FindShiftTest(test)->title),
                                    PValue(cells, test)));
  }
  if (parts.empty()) return "";
  return absl::StrCat(" Its images come from other scanners (",
                      absl::StrJoin(parts, ", "), ").");
}

}  // namespace

std::string_view ShiftRemedyName(ShiftRemedy remedy) {
  switch (remedy) {
    case ShiftRemedy::kNone:
      return "none";
    case ShiftRemedy::kNormalization:
      return "normalization";
    case ShiftRemedy::kPriorCorrection:
      return "prior_correction";
    case ShiftRemedy::kPersonalHead:
      return "personal_head";
    case ShiftRemedy::kReview:
      return "review";
  }
  return "";
}

SiteTriage TriageSite(const Cells& cells) {
  SiteTriage triage;
  const std::vector<std::string_view> witnesses = Witnesses(cells);
  for (std::string_view name : witnesses) {
    const ShiftKind kind = FindShiftTest(name)->kind;
    if (!Has(triage.kinds, kind)) triage.kinds.push_back(kind);
  }
  triage.verdict = Verdict(triage.kinds);
  triage.reason =
      absl::StrCat(Reason(cells, witnesses), Scanners(cells, triage.kinds));
  triage.remedy = Remedy(triage.kinds);
  triage.advice = Advice(triage.kinds);
  return triage;
}

}  // namespace fedgraft
