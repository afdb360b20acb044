// Seeded mutations of good files: parsers may refuse them, but must neither
// crash nor read outside (run in the address-sanitizer build), and what they
// accept must be well-formed.

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "client/data/csv.h"
#include "client/data/image_codec.h"
#include "client/data/manifest.h"
#include "client/data/npy.h"
#include "client/data/npz_source.h"
#include "client/data/seeded_random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/test_files.h"
#include "tests/support/temp_folder.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::Dicom;
using ::fedgraft::testing::Encode;
using ::fedgraft::testing::Npy;
using ::fedgraft::testing::TempFolder;
using ::fedgraft::testing::Tiff;
using ::fedgraft::testing::TwoClasses;

// Flips, overwrites, inserts, removes or repeats a few bytes.
Bytes Mutate(SeededRandom& random, Bytes file) {
  const uint64_t changes = 1 + random.Below(4);
  for (uint64_t change = 0; change < changes && !file.empty(); ++change) {
    const size_t at = random.Below(file.size());
    const auto where = file.begin() + static_cast<ptrdiff_t>(at);
    const size_t length =
        1 + random.Below(std::min<size_t>(16, file.size() - at));
    const auto end = where + static_cast<ptrdiff_t>(length);
    switch (random.Below(6)) {
      case 0:
        *where ^= static_cast<uint8_t>(1u << random.Below(8));
        break;
      case 1:
        *where = static_cast<uint8_t>(random.Next());
        break;
      case 2:
        std::fill(where, end, random.Below(2) == 0 ? 0x00 : 0xFF);
        break;
      case 3:
        file.erase(where, end);
        break;
      case 4: {
        const Bytes copy(where, end);
        file.insert(where, copy.begin(), copy.end());
        break;
      }
      default:
        file.resize(at);
    }
  }
  return file;
}

TEST(MutationTest, NpyHeaders) {
  const std::vector<Bytes> seeds = {
      Npy("|u1", "(546, 28, 28)", {}), Npy("<f4", "(2, 3, 4, 3)", {}),
      Npy("<i8", "(7,)", {}), Npy("<u2", "()", {})};
  SeededRandom random(1);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Bytes file = Mutate(random, seeds[i % seeds.size()]);
    size_t offset = 0;
    const auto header = ReadNpyHeader([&](absl::Span<uint8_t> out) {
      if (out.size() > file.size() - offset) {
        return absl::DataLossError("end");
      }
      if (!out.empty()) std::memcpy(out.data(), &file[offset], out.size());
      offset += out.size();
      return absl::OkStatus();
    });
    if (!header.ok()) continue;
    ++accepted;
    ASSERT_EQ(header->header_bytes, offset);
    uint64_t rows = 1;
    if (!header->shape.empty()) {
      rows = header->shape[0];
      ASSERT_EQ(header->data_bytes, rows * header->row_bytes());
    }
  }
  EXPECT_GT(accepted, 100);  // the mutations are not all hopeless
}

TEST(MutationTest, NpzArchives) {
  const TempFolder folder;
  NpzOptions options;
  options.path = folder.File("good.npz");
  std::map<std::string, Bytes> members;
  for (const std::string split : {"train", "val", "test"}) {
    members[split + "_images.npy"] = Npy("|u1", "(6, 2, 2)", Bytes(24, 7));
    members[split + "_labels.npy"] = Npy("|u1", "(6, 1)", Bytes(6, 1));
  }
  fedgraft::testing::WriteNpz(options.path, members);
  const Bytes good = fedgraft::testing::ReadWholeFile(options.path);
  options.path = folder.File("mutated.npz");
  SeededRandom random(2);
  for (int i = 0; i < 600; ++i) {
    fedgraft::testing::WriteFile(options.path, Mutate(random, good));
    const auto source = OpenNpzSource(options, TwoClasses());
    if (!source.ok()) continue;
    for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
      for (size_t j = 0; j < (*source)->Samples(split).size(); ++j) {
        const auto image = (*source)->Load(split, j);
        ASSERT_TRUE(image.ok());
        ASSERT_EQ(image->pixels.size(), 4u);
      }
    }
  }
}

TEST(MutationTest, Manifests) {
  const std::string text =
      "path,label,patient,split\r\n\"a,1.png\",0,p1,train\r\n"
      "\"b \"\"x\"\".png\",benign,p2,val\r\nc.png,malignant,p3,test\r\n";
  const Bytes good = ToBytes(AsBytes(text));
  ManifestColumns columns;
  columns.patient = "patient";
  columns.split = "split";
  SeededRandom random(3);
  int accepted = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Bytes file = Mutate(random, good);
    const auto table = ParseCsv(AsText(file));
    const auto rows = ParseManifest(AsText(file), columns, TwoClasses());
    if (!rows.ok()) continue;
    ++accepted;
    ASSERT_TRUE(table.ok());
    for (const ManifestRow& row : *rows) {
      ASSERT_TRUE(row.label == 0 || row.label == 1);
      ASSERT_TRUE(row.split.has_value());
      ASSERT_FALSE(row.image.empty());
      ASSERT_FALSE(row.patient.empty());
    }
  }
  EXPECT_GT(accepted, 100);
}

TEST(MutationTest, ImageFiles) {
  const std::vector<Bytes> seeds = {Encode(".png", 9, 7, 3, 8, 5),
                                    Encode(".png", 9, 7, 1, 16, 500),
                                    Encode(".jpg", 17, 9, 3, 8, 5),
                                    Encode(".jpg", 17, 9, 1, 8, 3),
                                    Encode(".tiff", 9, 7, 1, 16, 500),
                                    Tiff({.width = 4, .height = 2}, Bytes(8)),
                                    Dicom({.width = 4,
                                           .height = 2,
                                           .bits = 16,
                                           .bits_stored = 12,
                                           .manufacturer = "SIEMENS"},
                                          Bytes(16, 7))};
  SeededRandom random(4);
  for (int i = 0; i < 6000; ++i) {
    const auto image =
        DecodeImage(Mutate(random, seeds[i % seeds.size()]), 10'000);
    if (!image.ok()) continue;
    ASSERT_GT(image->height, 0);
    ASSERT_GT(image->width, 0);
    ASSERT_LE(static_cast<int64_t>(image->height) * image->width, 10'000);
    ASSERT_EQ(image->pixels.size(), static_cast<size_t>(image->height) *
                                        image->width * image->channels);
  }
}

}  // namespace
}  // namespace fedgraft
