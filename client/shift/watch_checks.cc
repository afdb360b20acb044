#include "client/shift/watch_checks.h"

#include "common/base/check.h"

namespace fedgraft {
namespace {

constexpr std::string_view kCharts[] = {"features", "acquisition", "outputs",
                                        "labels"};

constexpr WatchCheckSpec kChecks[] = {
    {"features", "features", "what the model sees in the images",
     "Look at some of the new images: another scanner, protocol, preprocessing "
     "or other patients?"},
    {"brightness", "acquisition", "the images' mean brightness",
     "Check exposure, windowing and how images are exported."},
    {"contrast", "acquisition", "the images' contrast",
     "Check the display curve and how images are exported."},
    {"noise", "acquisition", "the images' noise",
     "Check dose, gain and reconstruction."},
    {"sharpness", "acquisition", "the images' sharpness",
     "Check resolution, focus, reconstruction kernel and compression."},
    {"outputs", "outputs", "predicted classes, and how surely",
     "The model meets other images or other findings: have a sample labelled "
     "before its answers are used as before."},
    {"labels", "labels", "mean predicted shares of the classes",
     "If images look as before, findings became more or less common: predict "
     "with --prior-correction em."},
};

}  // namespace

absl::Span<const WatchCheckSpec> WatchChecks() { return kChecks; }

const WatchCheckSpec& WatchCheckOf(std::string_view name) {
  for (const WatchCheckSpec& check : kChecks) {
    if (check.name == name) return check;
  }
  FG_CHECK(false);
  return kChecks[0];
}

absl::Span<const std::string_view> WatchCharts() { return kCharts; }

}  // namespace fedgraft
