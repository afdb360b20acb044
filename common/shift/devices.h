#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/types/span.h"

// Which scanners images come from, as sketches count them. DICOM leaves the
// names to each manufacturer, so they are brought into one form first.

namespace fedgraft {

// Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090) as a file
// has them; empty: it does not tell.
struct DeviceNames {
  std::string manufacturer, model;
};

// The manufacturers that are counted by name, in the order of their bins, under
// the name that metrics have. Part of what kSketchVersion names. After them
// comes a bin of all others, and one of images that do not tell.
struct KnownManufacturer {
  std::string_view name, title;
};
absl::Span<const KnownManufacturer> KnownManufacturers();
inline constexpr int kManufacturersKnown = 20;
inline constexpr int kManufacturerOther = kManufacturersKnown;
inline constexpr int kManufacturerNotTold = kManufacturersKnown + 1;
inline constexpr int kManufacturerBins = kManufacturersKnown + 2;

// There are too many models for a list: they are counted in this many bins by a
// hash, and in one more where they are not told.
inline constexpr int kModelHashes = 32;
inline constexpr int kModelNotTold = kModelHashes;
inline constexpr int kModelBins = kModelHashes + 1;

// An image's bins.
struct DeviceBins {
  uint8_t manufacturer = kManufacturerNotTold;
  uint8_t model = kModelNotTold;
  friend bool operator==(const DeviceBins&, const DeviceBins&) = default;
};
static_assert(kManufacturerBins <= 256 && kModelBins <= 256);

// Small letters and digits of ASCII; all else is a gap between words, one space
// each, none at the ends.
std::string PlainDeviceName(std::string_view name);
// Neither case, punctuation, nor what a manufacturer adds to or has changed of
// its name ("SIEMENS", "Siemens Healthineers", "TOSHIBA_MEC", "Canon Medical
// Systems") changes a bin. The model's is SHA-256 of `seed` (of the sketch, the
// same at all sites), manufacturer and model. Thread-safe.
DeviceBins BinsOfDevice(uint64_t seed, const DeviceNames& names);

// Metrics of a look: pooled numbers of records by manufacturer, those above 0,
// "shift_scanners_<name>", "shift_scanners_other", "shift_scanners_not_told".
// A bin of fewer than kDeviceRecordsMin records is counted with the others, and
// they with what is not told if they are fewer, too. REQUIRES:
// kManufacturerBins counts.
inline constexpr std::string_view kScannerPrefix = "shift_scanners_";
inline constexpr double kDeviceRecordsMin = 10;
std::map<std::string, double> ScannerMetrics(absl::Span<const double> counts);
// What people are told of such a metric; of any other the name itself.
std::string ScannerTitle(std::string_view metric);

}  // namespace fedgraft
