#include "common/shift/shift_tests.h"

#include <string>

namespace fedgraft {
namespace {

constexpr ShiftTestSpec kTests[] = {
    {"covariate_mmd", ShiftKind::kCovariate, true, 0.5, "features",
     "Compares the distribution of the site's features with that of the other "
     "sites' (kernel two-sample test).",
     "The images look different, or other findings are common."},
    {"covariate_adjusted", ShiftKind::kCovariate, true, 0,
     "features, labels aside",
     "The same after the site's records are weighted so that the classes, "
     "judged "
     "by the features alone, are as common as elsewhere.",
     "The images look different beyond what other findings explain."},
    {"acquisition_brightness", ShiftKind::kCovariate, true, 0, "brightness",
     "Compares histograms of the images' mean brightness.",
     "Exposure or windowing differs."},
    {"acquisition_contrast", ShiftKind::kCovariate, true, 0, "contrast",
     "Compares histograms of the images' contrast.",
     "Contrast or the display curve differs."},
    {"acquisition_noise", ShiftKind::kCovariate, true, 0, "noise",
     "Compares histograms of the images' noise.",
     "Dose, gain or reconstruction differs."},
    {"acquisition_sharpness", ShiftKind::kCovariate, true, 0, "sharpness",
     "Compares histograms of the images' sharpness.",
     "Resolution, focus or a reconstruction kernel differs."},
    {kManufacturerTest, ShiftKind::kCovariate, false, 0, "manufacturers",
     "Compares which manufacturers' scanners the images come from, as far as "
     "their DICOM files tell and the site's policy lets out.",
     "Other scanners than elsewhere, as hospitals have: it explains other "
     "images, and does no harm by itself."},
    {kModelTest, ShiftKind::kCovariate, false, 0, "scanner models",
     "The same with the scanners' models.",
     "Other models than elsewhere, as hospitals have."},
    {"covariate_outputs", ShiftKind::kCovariate, false, 0, "model's confidence",
     "Compares which classes the model predicts, and how surely.",
     "The model meets other images or other findings than elsewhere."},
    {"representation_frechet", ShiftKind::kCovariate, false, 0,
     "mean and spread of features",
     "Frechet distance of the features, less what chance makes of it.",
     "Mean or spread of the features differs."},
    {"label_score", ShiftKind::kLabel, true, 0.25, "base rate",
     "Asks whether the pooled head's intercepts fit the site's labels.",
     "Findings are more or less common than the images alone tell."},
    {"label_profiled", ShiftKind::kLabel, true, 0, "base rate, reading aside",
     "The same with the slopes fitted to the site, for sites whose reading "
     "differs.",
     "Findings are more or less common, whatever else differs."},
    {"label_em", ShiftKind::kLabel, false, 0, "estimated shares",
     "Asks, without labels, whether the classes' shares that explain the "
     "model's outputs best are those of the other sites.",
     "Other shares of the classes, or other images."},
    {"label_predicted", ShiftKind::kLabel, false, 0, "predicted classes",
     "Compares how often the model predicts each class.",
     "Other shares of the classes, or other images."},
    {"label_counts", ShiftKind::kLabel, true, 0, "labelled classes",
     "Compares how often each class is labelled.",
     "Other shares of the classes, whatever the reason."},
    {"concept_score", ShiftKind::kConcept, true, 0.25, "reading",
     "Asks whether the pooled head's slopes fit the site's labels, whatever "
     "the intercepts.",
     "Like images are labelled differently than elsewhere."},
    {"concept_conditional", ShiftKind::kConcept, false, 0,
     "features within a class", "Compares the features class by class.",
     "Records of one label look different: other images or other reading."},
};

}  // namespace

absl::Span<const ShiftTestSpec> ShiftTests() { return kTests; }

const ShiftTestSpec* FindShiftTest(std::string_view name) {
  for (const ShiftTestSpec& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

std::string_view ShiftKindName(ShiftKind kind) {
  switch (kind) {
    case ShiftKind::kCovariate:
      return "covariate";
    case ShiftKind::kLabel:
      return "label";
    case ShiftKind::kConcept:
      return "concept";
  }
  return "";
}

std::string ShiftScalar(std::string_view test, std::string_view field) {
  std::string name(kShiftPrefix);
  name.append(test).append(1, '.').append(field);
  return name;
}

std::string PriorScalar(int class_index) {
  return ShiftScalar("prior", std::to_string(class_index));
}

TransferVerdict VerdictOfInterval(double low, double high) {
  if (low > 0) return TransferVerdict::kHelps;
  return high < 0 ? TransferVerdict::kHarms : TransferVerdict::kNoDifference;
}

std::string_view TransferVerdictName(TransferVerdict verdict) {
  switch (verdict) {
    case TransferVerdict::kHelps:
      return "helps";
    case TransferVerdict::kNoDifference:
      return "no difference";
    case TransferVerdict::kHarms:
      return "harms";
  }
  return "";
}

}  // namespace fedgraft
