#include "common/shift/devices.h"

#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

std::string NamedBin(const std::string& manufacturer) {
  const int bin = BinsOfDevice(1, {manufacturer, ""}).manufacturer;
  if (bin == kManufacturerNotTold) return "not told";
  if (bin == kManufacturerOther) return "other";
  return std::string(KnownManufacturers()[bin].name);
}

TEST(DevicesTest, ANameIsBroughtIntoOneForm) {
  EXPECT_EQ(PlainDeviceName("  SIEMENS_RIS "), "siemens ris");
  EXPECT_EQ(PlainDeviceName("Agfa-Gevaert  N.V."), "agfa gevaert n v");
  EXPECT_EQ(PlainDeviceName("\xc3\x84 x"), "x");
  EXPECT_EQ(PlainDeviceName(" .,- "), "");
}

// As files spell them, those of the real ones under FEDGRAFT_DATA among them.
TEST(DevicesTest, SpellingsOfOneManufacturerShareABin) {
  const std::map<std::string, std::vector<std::string>> spellings = {
      {"agfa", {"Agfa", "Agfa-Gevaert AG"}},
      {"canon", {"TOSHIBA_MEC", "Canon Inc.", "CANON_MEC", "Toshiba"}},
      {"carestream", {"KODAK", "Carestream Health", "Eastman Kodak Company"}},
      {"fujifilm", {"FUJIFILM Corporation", "FUJI PHOTO FILM Co., ltd."}},
      {"ge", {"GE MEDICAL SYSTEMS", "GE Healthcare", "\"GE Healthcare\""}},
      {"konica_minolta", {"KONICA MINOLTA", "Konica-Minolta"}},
      {"philips", {"Philips", "Philips Medical Systems", "PHILIPS Healthcare"}},
      {"siemens", {"SIEMENS", "Siemens Healthineers", "SIEMENS_RIS", "ACUSON"}},
      {"united_imaging", {"UIH", "Shanghai United Imaging Healthcare"}},
      {"other", {"OFFIS", "Gepard", "Siemenstadt", "x"}},
      {"not told", {"", "   ", "--"}},
  };
  for (const auto& [name, all] : spellings) {
    for (const std::string& spelling : all) {
      EXPECT_EQ(NamedBin(spelling), name) << spelling;
    }
  }
}

TEST(DevicesTest, EachKnownNameHasOneBin) {
  std::set<std::string_view> names;
  for (const KnownManufacturer& known : KnownManufacturers()) {
    EXPECT_TRUE(names.insert(known.name).second) << known.name;
    EXPECT_FALSE(known.title.empty());
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kManufacturersKnown));
}

// Computed with Python's hashlib.
TEST(DevicesTest, AModelsBinFollowsFromSeedManufacturerAndModel) {
  EXPECT_EQ(BinsOfDevice(1, {"SIEMENS", "Aera"}).model, 27);
  EXPECT_EQ(BinsOfDevice(1, {"Siemens Healthineers", "AERA "}).model, 27);
  EXPECT_EQ(BinsOfDevice(1, {"SIEMENS", "Skyra"}).model, 6);
  EXPECT_EQ(BinsOfDevice(2, {"SIEMENS", "Aera"}).model, 29);
  EXPECT_EQ(BinsOfDevice(1, {"GE MEDICAL SYSTEMS", "Signa HDxt"}).model, 25);
  EXPECT_EQ(BinsOfDevice(1, {"Acme", "Aera"}).model, 4);
  EXPECT_EQ(BinsOfDevice(1, {"", "Aera"}).model, 30);
  EXPECT_EQ(BinsOfDevice(1, {"SIEMENS", " "}).model, kModelNotTold);
  EXPECT_EQ(BinsOfDevice(1, {}), DeviceBins());
}

TEST(ScannerMetricsTest, FewRecordsOfAManufacturerAreCountedWithTheOthers) {
  std::vector<double> counts(kManufacturerBins);
  counts[BinsOfDevice(1, {"GE", ""}).manufacturer] = 40;
  counts[BinsOfDevice(1, {"SIEMENS", ""}).manufacturer] = 10;
  counts[BinsOfDevice(1, {"Philips", ""}).manufacturer] = 9;
  counts[BinsOfDevice(1, {"Agfa", ""}).manufacturer] = 3;
  using Metrics = std::map<std::string, double>;
  EXPECT_EQ(ScannerMetrics(counts), (Metrics{{"shift_scanners_ge", 40},
                                             {"shift_scanners_siemens", 10},
                                             {"shift_scanners_other", 12}}));
  // Those are too few to be told as well.
  counts[BinsOfDevice(1, {"Agfa", ""}).manufacturer] = 0;
  counts[kManufacturerNotTold] = 100;
  EXPECT_EQ(ScannerMetrics(counts),
            (Metrics{{"shift_scanners_ge", 40},
                     {"shift_scanners_siemens", 10},
                     {"shift_scanners_not_told", 109}}));
}

TEST(ScannerMetricsTest, EveryMetricHasATitle) {
  std::vector<double> counts(kManufacturerBins, 20);
  const auto metrics = ScannerMetrics(counts);
  EXPECT_EQ(metrics.size(), static_cast<size_t>(kManufacturerBins));
  for (const auto& [name, records] : metrics) {
    EXPECT_NE(ScannerTitle(name), name);
  }
  EXPECT_EQ(ScannerTitle("shift_scanners_ge"), "GE HealthCare");
  EXPECT_EQ(ScannerTitle("auc"), "auc");
}

}  // namespace
}  // namespace fedgraft
