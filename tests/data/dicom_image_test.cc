#include "client/data/dicom_image.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "client/data/csv.h"
#include "client/data/folder_source.h"
#include "client/data/image_codec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::Dicom;
using ::fedgraft::testing::DicomFields;
using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::ReadWholeFile;
using ::fedgraft::testing::RealDataFolder;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::TwoClasses;
using ::fedgraft::testing::WriteFile;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointwise;

constexpr uint64_t kLimit = 10'000'000;

double MeanLevel(const Image& image) {
  return 255 * std::accumulate(image.pixels.begin(), image.pixels.end(), 0.0) /
         static_cast<double>(image.pixels.size());
}

TEST(DicomImageTest, KeepsEveryValueOverTheRangeOfItsBits) {
  const auto eight =
      DecodeDicom(Dicom({.width = 3}, Bytes{0, 128, 255}), kLimit);
  ASSERT_THAT(eight, IsOk());
  EXPECT_EQ(eight->height, 1);
  EXPECT_EQ(eight->width, 3);
  EXPECT_EQ(eight->channels, 1);
  EXPECT_THAT(eight->pixels,
              Pointwise(FloatNear(1e-6f), {0.f, 128 / 255.f, 1.f}));
  const auto twelve =
      DecodeDicom(Dicom({.width = 3, .bits = 16, .bits_stored = 12},
                        Raw<uint16_t>({0, 1000, 4095})),
                  kLimit);
  ASSERT_THAT(twelve, IsOk());
  EXPECT_THAT(twelve->pixels,
              Pointwise(FloatNear(1e-6f), {0.f, 1000 / 4095.f, 1.f}));
}

// PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), cut to [0, 1].
TEST(DicomImageTest, AppliesTheFirstWindow) {
  const auto image =
      DecodeDicom(Dicom({.width = 5,
                         .bits = 16,
                         .bits_stored = 12,
                         .window_center = "1000",
                         .window_width = "201"},
                        Raw<uint16_t>({0, 900, 950, 1100, 4000})),
                  kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_THAT(image->pixels,
              Pointwise(FloatNear(1e-4f), {0.f, 0.0025f, 0.2525f, 1.f, 1.f}));
}

TEST(DicomImageTest, TurnsMonochrome1Round) {
  const auto image = DecodeDicom(
      Dicom({.width = 3, .photometric = "MONOCHROME1"}, Bytes{0, 55, 255}),
      kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_THAT(image->pixels,
              Pointwise(FloatNear(0.005f), {1.f, 200 / 255.f, 0.f}));
}

TEST(DicomImageTest, DecodesColour) {
  const auto image = DecodeDicom(
      Dicom({.width = 1, .height = 2, .samples = 3, .photometric = "RGB"},
            Bytes{255, 0, 51, 0, 102, 0}),
      kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->channels, 3);
  EXPECT_EQ(image->height, 2);
  EXPECT_THAT(image->pixels,
              Pointwise(FloatNear(1e-6f), {1.f, 0.f, 0.2f, 0.f, 0.4f, 0.f}));
}

TEST(DicomImageTest, TellsTheScannerAsItIsWritten) {
  const auto told = DecodeDicom(
      Dicom({.manufacturer = "SIEMENS", .model = "Aera 1.5T"}, Bytes{1}),
      kLimit);
  ASSERT_THAT(told, IsOk());
  EXPECT_EQ(told->device.manufacturer, "SIEMENS");
  EXPECT_EQ(told->device.model, "Aera 1.5T");
  const auto silent = DecodeDicom(Dicom({}, Bytes{1}), kLimit);
  ASSERT_THAT(silent, IsOk());
  EXPECT_EQ(silent->device.manufacturer + silent->device.model, "");
}

TEST(DicomImageTest, RefusesWhatIsNoSingleImage) {
  const Bytes two(2);
  EXPECT_THAT(DecodeDicom(Dicom({.frames = "2"}, two), kLimit),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected one frame, found 2"));
  EXPECT_THAT(DecodeDicom(Dicom({.has_pixels = false}, two), kLimit),
              IsError(absl::StatusCode::kInvalidArgument, "without pixels"));
  EXPECT_THAT(DecodeDicom(Dicom({.width = 0}, two), kLimit),
              IsError(absl::StatusCode::kInvalidArgument, "one pixel"));
  EXPECT_THAT(DecodeDicom(Dicom({.width = 11, .height = 10}, Bytes(110)), 109),
              IsError(absl::StatusCode::kResourceExhausted,
                      "expected at most 109 pixels"));
  EXPECT_THAT(DecodeDicom(Bytes(200), kLimit),
              HasCode(absl::StatusCode::kInvalidArgument));
}

// JPEG 2000, MPEG-2, deflated (which may unpack to any size), none at all.
TEST(DicomImageTest, RefusesATransferSyntaxWithoutDecoder) {
  for (const char* syntax :
       {"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.100",
        "1.2.840.10008.1.2.1.99", "1.2.3"}) {
    EXPECT_THAT(
        DecodeDicom(Dicom({.transfer_syntax = syntax}, Bytes{1}), kLimit),
        IsError(absl::StatusCode::kInvalidArgument,
                "expected a transfer syntax with a decoder"))
        << syntax;
  }
}

TEST(DicomImageTest, ErrorsQuoteNothingOfTheFile) {
  const Bytes whole =
      Dicom({.width = 20, .height = 20, .model = "MODELNAME"}, Bytes(400, 9));
  ASSERT_THAT(DecodeDicom(whole, kLimit), IsOk());
  int refused = 0;
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto cut = DecodeDicom(ByteSpan(whole).first(size), kLimit);
    if (cut.ok()) continue;
    ++refused;
    const std::string message(cut.status().message());
    EXPECT_THAT(message, Not(HasSubstr("SECRET")));
    EXPECT_THAT(message, Not(HasSubstr("MODELNAME")));
  }
  EXPECT_EQ(refused, static_cast<int>(whole.size()));
}

TEST(DicomImageTest, OtherFormatsTellNoScanner) {
  const auto image =
      DecodeImage(testing::Encode(".png", 3, 2, 1, 8, 10), kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->device.manufacturer, "");
}

TEST(DicomImageTest, AFolderMayHoldThemBesideOthers) {
  TempFolder folder;
  WriteFile(folder.File("a.dcm"),
            Dicom({.width = 2, .manufacturer = "Philips"}, Bytes{1, 2}));
  WriteFile(folder.File("b.png"), testing::Encode(".png", 3, 2, 1, 8, 10));
  FolderOptions options;
  options.path = folder.path();
  const auto source = OpenFolderSource(options, TwoClasses(DataUse::kPredict));
  ASSERT_THAT(source, IsOk());
  ASSERT_EQ((*source)->Samples(Split::kTest).size(), 2u);
  EXPECT_EQ((*source)->Load(Split::kTest, 0)->device.manufacturer, "Philips");
  EXPECT_EQ((*source)->Load(Split::kTest, 1)->device.manufacturer, "");
}

class RealDicomTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (RealDataFolder().empty()) GTEST_SKIP() << "no FEDGRAFT_DATA";
    folder_ = RealDataFolder() + "/dicom/";
  }
  absl::StatusOr<Image> Decode(const std::string& name) const {
    return DecodeDicom(ReadWholeFile(folder_ + name), kLimit);
  }
  std::string folder_;
};

TEST_F(RealDicomTest, EncodingsOfOneImageDecodeToTheSamePixels) {
  const auto image = Decode("valid/MR_small.dcm");
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->height, 64);
  for (const char* other :
       {"implicit", "bigendian", "RLE", "jpeg_ls_lossless"}) {
    const auto decoded =
        Decode("valid/MR_small_" + std::string(other) + ".dcm");
    ASSERT_THAT(decoded, IsOk()) << other;
    EXPECT_EQ(decoded->pixels, image->pixels) << other;
  }
}

// Sizes and means of stored values from MANIFEST.csv, over their bits; none of
// these has a window.
TEST_F(RealDicomTest, ReadsMeansAsAnotherReaderDoes) {
  struct Case {
    const char* name;
    int height, width, channels;
    double mean;  // of 255
  };
  for (const Case& c :
       {Case{"JPGExtended", 1024, 256, 1, 14.37 * 255 / 4095},
        Case{"SC_rgb", 100, 100, 3, 127.7},
        Case{"SC_rgb_rle", 100, 100, 3, 127.7},
        Case{"SC_rgb_jpeg_dcmtk", 100, 100, 3, 127.7},
        // Signed: 0 is in the middle.
        Case{"CT_small", 128, 128, 1, (904.9261 + 32768) * 255 / 65535}}) {
    const auto image = Decode("valid/" + std::string(c.name) + ".dcm");
    ASSERT_THAT(image, IsOk()) << c.name;
    EXPECT_EQ(image->height, c.height) << c.name;
    EXPECT_EQ(image->width, c.width) << c.name;
    EXPECT_EQ(image->channels, c.channels) << c.name;
    EXPECT_NEAR(MeanLevel(*image), c.mean, 0.1) << c.name;
  }
}

TEST_F(RealDicomTest, TellsScannersOfRealFiles) {
  const std::map<std::string, std::pair<std::string, std::string>> scanners = {
      {"CT_small", {"GE MEDICAL SYSTEMS", "RHAPSODE"}},
      {"MR_small_RLE", {"TOSHIBA_MEC", "MRT50H1"}},
      {"JPGLosslessP14SV1_1s_1f_8b", {"Philips Medical Systems", "EPIQ 7C"}},
      {"SC_rgb", {"", ""}}};
  for (const auto& [name, names] : scanners) {
    const auto image = Decode("valid/" + name + ".dcm");
    ASSERT_THAT(image, IsOk()) << name;
    EXPECT_EQ(image->device.manufacturer, names.first) << name;
    EXPECT_EQ(image->device.model, names.second) << name;
  }
}

// Four encodings of 8-bit images; the mean is theirs. Those of 12 bits have no
// window and use a part of their range, which display_mean stretches.
TEST_F(RealDicomTest, RadiographsLookAsTheyDidBeforeTheyWereEncoded) {
  const auto table =
      ParseCsv(AsText(ReadWholeFile(folder_ + "hannover_cxr/labels.csv")));
  ASSERT_THAT(table, IsOk());
  int compared = 0;
  for (const auto& row : table->rows) {
    const auto image = Decode("hannover_cxr/" + row.fields[0]);
    ASSERT_THAT(image, IsOk()) << row.fields[0];
    EXPECT_EQ(image->height, std::stoi(row.fields[4]));
    EXPECT_EQ(image->width, std::stoi(row.fields[5]));
    if (row.fields[6].find("no window") != std::string::npos) continue;
    ++compared;
    EXPECT_NEAR(MeanLevel(*image), std::stod(row.fields[7]), 0.05)
        << row.fields[0];
  }
  EXPECT_EQ(compared, 18);
}

TEST_F(RealDicomTest, BrokenFilesAreErrors) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(folder_ + "broken")) {
    const auto image = DecodeDicom(ReadWholeFile(entry.path()), kLimit);
    EXPECT_FALSE(image.ok()) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 14);
}

}  // namespace
}  // namespace fedgraft
