#include "common/shift/devices.h"

#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/crypto/sha256.h"

namespace fedgraft {
namespace {

constexpr KnownManufacturer kKnown[] = {
    {"agfa", "Agfa"},
    {"canon", "Canon, Toshiba"},
    {"carestream", "Carestream, Kodak"},
    {"esaote", "Esaote"},
    {"fujifilm", "Fujifilm"},
    {"ge", "GE HealthCare"},
    {"heidelberg", "Heidelberg Engineering"},
    {"hitachi", "Hitachi"},
    {"hologic", "Hologic"},
    {"konica_minolta", "Konica Minolta"},
    {"leica", "Leica"},
    {"mindray", "Mindray"},
    {"philips", "Philips"},
    {"samsung", "Samsung"},
    {"shimadzu", "Shimadzu"},
    {"siemens", "Siemens Healthineers"},
    {"topcon", "Topcon"},
    {"united_imaging", "United Imaging"},
    {"varian", "Varian"},
    {"zeiss", "Zeiss"},
};
static_assert(std::size(kKnown) == kManufacturersKnown);

// First words of plain names, and whose they are.
struct Alias {
  std::string_view words, name;
};
constexpr Alias kAliases[] = {
    {"acuson", "siemens"},
    {"agfa", "agfa"},
    {"aloka", "hitachi"},
    {"canon", "canon"},
    {"carestream", "carestream"},
    {"carl zeiss", "zeiss"},
    {"eastman kodak", "carestream"},
    {"esaote", "esaote"},
    {"fuji", "fujifilm"},
    {"fujifilm", "fujifilm"},
    {"ge", "ge"},
    {"gehc", "ge"},
    {"gems", "ge"},
    {"general electric", "ge"},
    {"heidelberg", "heidelberg"},
    {"hitachi", "hitachi"},
    {"hologic", "hologic"},
    {"kodak", "carestream"},
    {"konica", "konica_minolta"},
    {"leica", "leica"},
    {"lorad", "hologic"},
    {"marconi", "philips"},
    {"medison", "samsung"},
    {"mindray", "mindray"},
    {"minolta", "konica_minolta"},
    {"philips", "philips"},
    {"picker", "philips"},
    {"samsung", "samsung"},
    {"shanghai united imaging", "united_imaging"},
    {"shenzhen mindray", "mindray"},
    {"shimadzu", "shimadzu"},
    {"siemens", "siemens"},
    {"topcon", "topcon"},
    {"toshiba", "canon"},
    {"uih", "united_imaging"},
    {"united imaging", "united_imaging"},
    {"varian", "varian"},
    {"zeiss", "zeiss"},
};

int KnownBin(std::string_view name) {
  for (int bin = 0; bin < kManufacturersKnown; ++bin) {
    if (kKnown[bin].name == name) return bin;
  }
  return kManufacturerOther;
}

bool BeginsWith(std::string_view plain, std::string_view words) {
  return plain.starts_with(words) &&
         (plain.size() == words.size() || plain[words.size()] == ' ');
}

// REQUIRES: a plain name that is not empty.
int ManufacturerBin(std::string_view plain) {
  for (const Alias& alias : kAliases) {
    if (BeginsWith(plain, alias.words)) return KnownBin(alias.name);
  }
  return kManufacturerOther;
}

std::string MetricOf(std::string_view name) {
  std::string metric(kScannerPrefix);
  return metric.append(name);
}

constexpr std::string_view kOther = "other", kNotTold = "not_told";

}  // namespace

absl::Span<const KnownManufacturer> KnownManufacturers() { return kKnown; }

std::string PlainDeviceName(std::string_view name) {
  std::string plain;
  bool gap = false;
  for (const char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      gap = true;
      continue;
    }
    if (gap && !plain.empty()) plain += ' ';
    gap = false;
    plain += absl::ascii_tolower(static_cast<unsigned char>(c));
  }
  return plain;
}

DeviceBins BinsOfDevice(uint64_t seed, const DeviceNames& names) {
  DeviceBins bins;
  std::string manufacturer = PlainDeviceName(names.manufacturer);
  if (!manufacturer.empty()) {
    const int bin = ManufacturerBin(manufacturer);
    bins.manufacturer = static_cast<uint8_t>(bin);
    if (bin < kManufacturersKnown) manufacturer = kKnown[bin].name;
  }
  const std::string model = PlainDeviceName(names.model);
  if (model.empty()) return bins;
  ByteWriter hashed;
  hashed.U64(seed).Sized(manufacturer).Sized(model);
  bins.model =
      static_cast<uint8_t>(Sha256(hashed.bytes()).bytes[0] % kModelHashes);
  return bins;
}

std::map<std::string, double> ScannerMetrics(absl::Span<const double> counts) {
  FG_CHECK(counts.size() == kManufacturerBins);
  std::map<std::string, double> metrics;
  double other = counts[kManufacturerOther];
  double not_told = counts[kManufacturerNotTold];
  for (int bin = 0; bin < kManufacturersKnown; ++bin) {
    if (counts[bin] < kDeviceRecordsMin) {
      other += counts[bin];
    } else {
      metrics.emplace(MetricOf(kKnown[bin].name), counts[bin]);
    }
  }
  if (other < kDeviceRecordsMin) {
    not_told += other;
  } else {
    metrics.emplace(MetricOf(kOther), other);
  }
  if (not_told > 0) metrics.emplace(MetricOf(kNotTold), not_told);
  return metrics;
}

std::string ScannerTitle(std::string_view metric) {
  for (const KnownManufacturer& known : kKnown) {
    if (metric == MetricOf(known.name)) return std::string(known.title);
  }
  if (metric == MetricOf(kOther)) return "others";
  if (metric == MetricOf(kNotTold)) return "not told, or too few to name";
  return std::string(metric);
}

}  // namespace fedgraft
