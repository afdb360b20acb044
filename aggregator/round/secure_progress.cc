#include "aggregator/round/secure_progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace fedgraft {

SecureProgress::SecureProgress(SecureSession session, SecureRules rules)
    : session_(std::move(session)),
      rules_(rules),
      step_(SecureStep::kAdvertise),
      advertised_(session_.Id()) {}

bool SecureProgress::Awaits(const SiteId& site,
                            const std::vector<SiteId>& survivors,
                            bool is_participant) const {
  const bool survived =
      std::binary_search(survivors.begin(), survivors.end(), site);
  switch (step_) {
    case SecureStep::kNone:
      return false;
    case SecureStep::kAdvertise:
      return is_participant && !advertised_.keys().contains(site) &&
             advertised_.keys().size() < kSecureSitesMax;
    case SecureStep::kShare:
      return advertised_.keys().contains(site) && !shared_.Has(site);
    case SecureStep::kMask:
      return shared_.Has(site) && !survived;
    case SecureStep::kAgree:
      return survived && !agreed_.signatures().contains(site);
    case SecureStep::kUnmask:
      return survived && !unmasked_.Has(site);
  }
  return false;
}

size_t SecureProgress::Answers() const {
  switch (step_) {
    case SecureStep::kAdvertise:
      return advertised_.keys().size();
    case SecureStep::kShare:
      return shared_.size();
    case SecureStep::kAgree:
      return agreed_.signatures().size();
    case SecureStep::kUnmask:
      return unmasked_.size();
    case SecureStep::kNone:
    case SecureStep::kMask:
      break;
  }
  return 0;
}

int SecureProgress::AnswersMin() const {
  const size_t advertised = advertised_.keys().size();
  switch (step_) {
    case SecureStep::kAdvertise:
      return std::max({rules_.cohort_min, rules_.threshold, kSecureSitesMin});
    case SecureStep::kShare:
    case SecureStep::kMask:
      return rules_.SurvivorsMin(advertised);
    case SecureStep::kAgree:
    case SecureStep::kUnmask:
      return rules_.Threshold(advertised);
    case SecureStep::kNone:
      break;
  }
  return 0;
}

absl::Status SecureProgress::Check(const SiteId& site, ByteSpan public_key,
                                   const std::vector<SiteId>& survivors,
                                   ByteSpan payload) const {
  switch (step_) {
    case SecureStep::kAdvertise:
      return advertised_.Check(site, public_key, payload);
    case SecureStep::kShare:
      return shared_.Check(advertised_.keys(), site, payload);
    case SecureStep::kAgree:
      return agreed_.Check(
          SecureTranscript::Of(session_.Id(), advertised_.keys()), survivors,
          site, public_key, payload);
    case SecureStep::kUnmask:
      return unmasked_.Check(Facts(survivors), site, payload);
    case SecureStep::kNone:
    case SecureStep::kMask:
      break;
  }
  return absl::InvalidArgumentError("an answer to a step that has none");
}

absl::Status SecureProgress::Put(const SiteId& site, ByteSpan payload) {
  switch (step_) {
    case SecureStep::kAdvertise:
      return advertised_.Put(site, payload);
    case SecureStep::kShare:
      return shared_.Put(site, payload);
    case SecureStep::kAgree:
      agreed_.Put(site, payload);
      return absl::OkStatus();
    case SecureStep::kUnmask:
      return unmasked_.Put(site, payload);
    case SecureStep::kNone:
    case SecureStep::kMask:
      break;
  }
  return absl::InvalidArgumentError("an answer to a step that has none");
}

absl::Status SecureProgress::Advance(SecureStep step) {
  if (!is_on() || static_cast<int>(step) != static_cast<int>(step_) + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("step ", SecureStepName(step), " does not follow ",
                     SecureStepName(step_)));
  }
  step_ = step;
  return absl::OkStatus();
}

Bytes SecureProgress::PayloadFor(const SiteId& site,
                                 const std::vector<SiteId>& survivors) const {
  switch (step_) {
    case SecureStep::kShare:
      return EncodeKeyList(advertised_.keys());
    case SecureStep::kMask:
      return EncodeSites(shared_.Sharers());
    case SecureStep::kAgree:
      return EncodeSites(survivors);
    case SecureStep::kUnmask:
      return EncodeSurvivorProof(
          {survivors, agreed_.signatures(), shared_.SharesFor(site)});
    case SecureStep::kNone:
    case SecureStep::kAdvertise:
      break;
  }
  return {};
}

UnmaskFacts SecureProgress::Facts(const std::vector<SiteId>& survivors) const {
  return {advertised_.keys(), session_.Id(), shared_.Sharers(), survivors,
          rules_.Threshold(advertised_.keys().size())};
}

}  // namespace fedgraft
