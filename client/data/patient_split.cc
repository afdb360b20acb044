#include "client/data/patient_split.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <tuple>

#include "client/data/seeded_random.h"
#include "common/base/check.h"

namespace fedgraft {
namespace {

struct Patient {
  uint64_t hash = 0;
  std::string_view key;
  std::vector<size_t> images;  // indices of candidates
  std::map<int, size_t> labels;

  int MainLabel() const {
    return std::max_element(
               labels.begin(), labels.end(),
               [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }
};

// Gives `split` patients of the stratum that are still in training.
void Assign(Split split, double fraction, size_t stratum_images,
            const std::vector<const Patient*>& stratum,
            std::vector<Split>& splits) {
  const double wanted = fraction * static_cast<double>(stratum_images);
  double given = 0;
  for (const Patient* patient : stratum) {
    if (splits[patient->images.front()] != Split::kTrain) continue;
    const double more = static_cast<double>(patient->images.size());
    if (given + more / 2 > wanted) continue;
    given += more;
    for (const size_t image : patient->images) splits[image] = split;
  }
}

}  // namespace

std::vector<Split> SplitByPatient(const std::vector<SplitCandidate>& candidates,
                                  const SplitFractions& fractions) {
  FG_CHECK(fractions.val >= 0 && fractions.test >= 0 &&
           fractions.val + fractions.test < 1);
  std::map<std::string_view, Patient> patients;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const std::string_view key = candidates[i].patient;
    Patient& patient = patients[key];
    patient.key = key;
    patient.hash = HashText(fractions.seed, key);
    patient.images.push_back(i);
    ++patient.labels[candidates[i].label];
  }
  std::map<int, std::vector<const Patient*>> strata;
  for (const auto& [key, patient] : patients) {
    strata[patient.MainLabel()].push_back(&patient);
  }
  std::vector<Split> splits(candidates.size(), Split::kTrain);
  for (auto& [label, stratum] : strata) {
    std::sort(stratum.begin(), stratum.end(),
              [](const Patient* a, const Patient* b) {
                return std::tie(a->hash, a->key) < std::tie(b->hash, b->key);
              });
    size_t images = 0;
    for (const Patient* patient : stratum) images += patient->images.size();
    Assign(Split::kTest, fractions.test, images, stratum, splits);
    Assign(Split::kVal, fractions.val, images, stratum, splits);
  }
  return splits;
}

}  // namespace fedgraft
