#include "client/data/image_codec.h"

#include <string>
#include <vector>

#include "client/data/image_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::Encode;
using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PngOfSize;
using ::fedgraft::testing::Raw;
using ::fedgraft::testing::Tiff;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::Pointwise;

constexpr uint64_t kLimit = 1'000'000;

TEST(ImageCodecTest, LosslessFormatsKeepEveryValue) {
  for (const std::string extension : {".png", ".tiff"}) {
    for (const int bits : {8, 16}) {
      const float full = bits == 8 ? 255.0f : 65535.0f;
      const int step = bits == 8 ? 10 : 3000;
      const auto grey =
          DecodeImage(Encode(extension, 3, 2, 1, bits, step), kLimit);
      ASSERT_THAT(grey, IsOk()) << extension << bits;
      EXPECT_EQ(grey->height, 2);
      EXPECT_EQ(grey->width, 3);
      EXPECT_EQ(grey->channels, 1);
      for (size_t i = 0; i < 6; ++i) {
        EXPECT_FLOAT_EQ(grey->pixels[i], static_cast<float>(i) * step / full);
      }
      // Blue, green, red become red, green, blue.
      const auto colour =
          DecodeImage(Encode(extension, 2, 1, 3, bits, step), kLimit);
      ASSERT_THAT(colour, IsOk()) << extension << bits;
      EXPECT_EQ(colour->channels, 3);
      const std::vector<float> order = {2, 1, 0, 5, 4, 3};
      for (size_t i = 0; i < 6; ++i) {
        EXPECT_FLOAT_EQ(colour->pixels[i], order[i] * step / full);
      }
    }
  }
}

TEST(ImageCodecTest, DropsAlpha) {
  const auto image = DecodeImage(Encode(".png", 2, 1, 4, 8, 10), kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->channels, 3);
  EXPECT_THAT(image->pixels, Pointwise(FloatNear(1e-6f),
                                       {20 / 255.f, 10 / 255.f, 0.f, 60 / 255.f,
                                        50 / 255.f, 40 / 255.f}));
}

TEST(ImageCodecTest, DecodesJpegAboutRight) {
  const auto image = DecodeImage(Encode(".jpg", 16, 16, 1, 8, 1), kLimit);
  ASSERT_THAT(image, IsOk());
  EXPECT_EQ(image->channels, 1);
  for (size_t i = 0; i < 256; ++i) {
    EXPECT_NEAR(image->pixels[i], static_cast<float>(i) / 255, 0.05);
  }
}

TEST(ImageCodecTest, TiffOfEitherByteOrderAndPolarity) {
  for (const bool big : {false, true}) {
    const Bytes wide =
        big ? Bytes{0x12, 0x34, 0xFF, 0xFF} : Bytes{0x34, 0x12, 0xFF, 0xFF};
    const float value = 0x1234 / 65535.0f;
    const auto plain = DecodeImage(
        Tiff({.width = 2, .bits = 16, .big_endian = big}, wide), kLimit);
    ASSERT_THAT(plain, IsOk());
    EXPECT_THAT(plain->pixels, ElementsAre(value, 1));
    const auto turned = DecodeImage(
        Tiff({.width = 2, .bits = 16, .photometric = 0, .big_endian = big},
             wide),
        kLimit);
    ASSERT_THAT(turned, IsOk());
    EXPECT_THAT(turned->pixels, ElementsAre(1 - value, 0));
    const auto turned8 = DecodeImage(
        Tiff({.width = 2, .photometric = 0, .big_endian = big}, Bytes{51, 255}),
        kLimit);
    ASSERT_THAT(turned8, IsOk());
    EXPECT_THAT(turned8->pixels, ElementsAre(0.8f, 0));
  }
}

TEST(ImageCodecTest, RefusesDimensionsBeforeDecoding) {
  struct Case {
    std::string name, message;
    Bytes file;
    absl::StatusCode code;
  };
  const auto kBad = absl::StatusCode::kInvalidArgument;
  const auto kLarge = absl::StatusCode::kResourceExhausted;
  Bytes jpeg = Encode(".jpg", 8, 8, 1, 8, 1), flat_jpeg = jpeg;
  const auto frame = [](const Bytes& file) {
    size_t i = 0;
    while (file[i] != 0xFF || file[i + 1] != 0xC0) ++i;
    return i;
  };
  for (int i = 5; i < 9; ++i) jpeg[frame(jpeg) + i] = 0xFF;
  for (int i = 5; i < 7; ++i) flat_jpeg[frame(flat_jpeg) + i] = 0;
  const std::vector<Case> cases = {
      {"PNG 0 wide", "at least one pixel, found 0 x 4", PngOfSize(0, 4), kBad},
      {"PNG 0 high", "at least one pixel, found 4 x 0", PngOfSize(4, 0), kBad},
      {"PNG 10^9", "at most 1000000 pixels", PngOfSize(40'000, 25'000), kLarge},
      {"PNG 2^64", "at most 1000000 pixels", PngOfSize(0xFFFFFFFF, 0xFFFFFFFF),
       kLarge},
      {"JPEG 65535", "found 65535 x 65535", jpeg, kLarge},
      {"JPEG 0 high", "at least one pixel", flat_jpeg, kBad},
      {"TIFF 0", "at least one pixel", Tiff({.width = 0}, Bytes(4)), kBad},
      {"TIFF 10^9", "found 1000000000 x 1",
       Tiff({.width = 1'000'000'000}, Bytes(4)), kLarge},
      {"TIFF 2^64", "at most 1000000 pixels",
       Tiff({.width = 0xFFFFFFFF, .height = 0xFFFFFFFF}, Bytes(4)), kLarge},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(DecodeImage(c.file, kLimit), IsError(c.code, c.message))
        << c.name;
  }
  EXPECT_THAT(DecodeImage(Encode(".png", 4, 4, 1, 8, 1), 16), IsOk());
  EXPECT_THAT(DecodeImage(Encode(".png", 4, 4, 1, 8, 1), 15),
              HasCode(absl::StatusCode::kResourceExhausted));
}

TEST(ImageCodecTest, EveryTruncationIsAnErrorOrHarmless) {
  const std::vector<Bytes> files = {
      Encode(".png", 20, 20, 1, 8, 7), Encode(".jpg", 20, 20, 1, 8, 7),
      Encode(".tiff", 20, 20, 1, 8, 7),
      Tiff({.width = 20, .height = 20}, Bytes(400, 77))};
  for (size_t f = 0; f < files.size(); ++f) {
    const Bytes& file = files[f];
    const auto whole = DecodeImage(file, kLimit);
    ASSERT_THAT(whole, IsOk());
    const size_t stride = file.size() / 200 + 1;
    for (size_t size = 0; size < file.size(); size += stride) {
      const auto image = DecodeImage(ByteSpan(file).subspan(0, size), kLimit);
      // A TIFF may end with fields that do not matter.
      if (f == 2 && image.ok()) {
        EXPECT_EQ(image->pixels, whole->pixels);
      } else {
        EXPECT_FALSE(image.ok()) << f << " at " << size;
      }
    }
  }
}

TEST(ImageCodecTest, CorruptPngFailsItsChecksum) {
  Bytes file = Encode(".png", 20, 20, 1, 8, 7);
  file[60] ^= 0x10;
  EXPECT_THAT(
      DecodeImage(file, kLimit),
      IsError(absl::StatusCode::kInvalidArgument, "PNG file is corrupt"));
}

TEST(ImageCodecTest, RefusesOtherFormatsAndDepths) {
  EXPECT_THAT(DecodeImage({}, kLimit),
              IsError(absl::StatusCode::kInvalidArgument, "an empty one"));
  EXPECT_THAT(DecodeImage(Encode(".bmp", 4, 4, 1, 8, 1), kLimit),
              IsError(absl::StatusCode::kInvalidArgument, "another format"));
  EXPECT_THAT(DecodeImage(AsBytes("<html>not found</html>"), kLimit),
              IsError(absl::StatusCode::kInvalidArgument,
                      "expected a PNG, JPEG or TIFF file"));
  EXPECT_THAT(
      DecodeImage(Tiff({.bits = 32, .sample_format = 3}, Bytes(4)), kLimit),
      IsError(absl::StatusCode::kInvalidArgument,
              "found 32 bits, sample format 3"));
  EXPECT_THAT(DecodeImage(Tiff({.bits = 12}, Bytes(4)), kLimit),
              IsError(absl::StatusCode::kInvalidArgument, "found 12 bits"));
}

TEST(ImageHeaderTest, ReadsTheHeadOnly) {
  const auto png = ReadImageHeader(PngOfSize(40'000, 25'000));
  ASSERT_THAT(png, IsOk());
  EXPECT_EQ(png->width, 40'000u);
  EXPECT_EQ(png->height, 25'000u);
  const auto tiff = ReadImageHeader(
      Tiff({.width = 7, .height = 3, .samples = 3, .photometric = 2}, {}));
  ASSERT_THAT(tiff, IsOk());
  EXPECT_EQ(tiff->format, ImageFormat::kTiff);
  EXPECT_EQ(tiff->width, 7u);
  EXPECT_FALSE(tiff->white_is_zero);
}

}  // namespace
}  // namespace fedgraft
