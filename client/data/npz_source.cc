#include "client/data/npz_source.h"

#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/data/npy.h"
#include "client/data/npz_array.h"
#include "client/data/seeded_random.h"
#include "client/data/splits.h"
#include "client/data/zip_archive.h"
#include "common/base/bytes.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr uint64_t kSplitBytesMax = uint64_t{8} << 30;

// Which rows belong to the shard, ascending. Groups are patients, or single
// images where there are none.
std::vector<bool> ChooseShard(size_t count,
                              const std::vector<int64_t>& patients,
                              const NpzOptions& options, Split split) {
  std::vector<bool> chosen(count, true);
  if (options.shard_count == 1 ||
      (split == Split::kTest && !options.shard_test)) {
    return chosen;
  }
  std::map<int64_t, size_t> group_of_patient;
  std::vector<size_t> group_of(count);
  for (size_t i = 0; i < count; ++i) {
    const int64_t key =
        patients.empty() ? static_cast<int64_t>(i) : patients[i];
    group_of[i] = group_of_patient.try_emplace(key, group_of_patient.size())
                      .first->second;
  }
  std::vector<size_t> place(group_of_patient.size());
  for (size_t i = 0; i < place.size(); ++i) place[i] = i;
  SeededRandom random({options.split_seed, static_cast<uint64_t>(split)});
  random.Shuffle(place);
  for (size_t i = 0; i < count; ++i) {
    chosen[i] = place[group_of[i]] % options.shard_count ==
                static_cast<size_t>(options.shard_index);
  }
  return chosen;
}

// The chosen images of one split, as stored.
struct StoredImages {
  std::string name;
  NpyHeader header;
  int height = 0, width = 0, channels = 0;
  Bytes data;
};

absl::StatusOr<StoredImages> CheckImages(const NpzArray& array,
                                         uint64_t pixels_max) {
  const NpyHeader& header = array.header;
  const std::vector<uint64_t>& shape = header.shape;
  const bool type = (header.kind == 'u' && header.item_bytes <= 2) ||
                    (header.kind == 'f' && header.item_bytes == 4);
  const bool form = shape.size() == 3 ||
                    (shape.size() == 4 && (shape[3] == 1 || shape[3] == 3));
  if (!type || !form || shape[0] > kNpzRowsMax) {
    return NpzExpected(array.name,
                       "uint8, uint16 or float32 images of shape (N, H, W), "
                       "(N, H, W, 1) or (N, H, W, 3)",
                       header);
  }
  if (shape[1] == 0 || shape[2] == 0) {
    return NpzExpected(array.name, "images of at least one pixel", header);
  }
  if (shape[1] > pixels_max || shape[2] > pixels_max / shape[1]) {
    return absl::ResourceExhaustedError(
        absl::StrCat(array.name, ": expected images of at most ", pixels_max,
                     " pixels, found ", header.ToString()));
  }
  StoredImages images;
  images.name = array.name;
  images.header = header;
  images.height = static_cast<int>(shape[1]);
  images.width = static_cast<int>(shape[2]);
  images.channels = shape.size() == 3 ? 1 : static_cast<int>(shape[3]);
  return images;
}

absl::Status ReadChosen(NpzArray& array, const std::vector<bool>& chosen,
                        StoredImages& images) {
  const uint64_t row_bytes = array.header.row_bytes();
  uint64_t kept = 0;
  for (const bool keep : chosen) kept += keep ? 1 : 0;
  if (kept > kSplitBytesMax / row_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(array.name, ": expected at most ", kSplitBytesMax,
                     " bytes, found ", array.header.ToString()));
  }
  images.data.resize(kept * row_bytes);
  Bytes skipped(kept < chosen.size() ? row_bytes : 0);
  uint8_t* to = images.data.data();
  for (const bool keep : chosen) {
    FG_RETURN_IF_ERROR(array.member.Read(
        absl::MakeSpan(keep ? to : skipped.data(), row_bytes)));
    if (keep) to += row_bytes;
  }
  return array.member.Finish();
}

class NpzSource final : public DataSource {
 public:
  absl::Status Fill(const NpzOptions& options, const DataContext& context) {
    FG_ASSIGN_OR_RETURN(const ZipArchive archive,
                        ZipArchive::Open(options.path));
    const bool predict = context.use == DataUse::kPredict;
    for (const Split split : kAllSplits) {
      if (predict && split != Split::kTest) continue;
      if (IsUnlabelled(context) && split != Split::kTrain) {
        continue;
      }
      const std::string prefix = SplitName(split);
      if (archive.Contains(prefix + "_images.npy")) {
        FG_RETURN_IF_ERROR(ReadSplit(archive, split, options, context));
      } else if (split == Split::kTrain || predict) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected an array ", prefix, "_images, found none"));
      }
    }
    return absl::OkStatus();
  }
  absl::Status Check(const NpzOptions& options, const DataContext& context) {
    return CheckSplits(options.path, context, samples_, warnings_);
  }

  const std::vector<Sample>& Samples(Split split) const override {
    return samples_[split];
  }
  const std::vector<std::string>& Warnings() const override {
    return warnings_;
  }
  absl::StatusOr<Image> Load(Split split, size_t index) const override;

 private:
  absl::Status ReadSplit(const ZipArchive& archive, Split split,
                         const NpzOptions& options, const DataContext& context);

  SplitSamples samples_;
  std::array<StoredImages, 3> images_;
  std::vector<std::string> warnings_;
};

absl::Status NpzSource::ReadSplit(const ZipArchive& archive, Split split,
                                  const NpzOptions& options,
                                  const DataContext& context) {
  const std::string prefix = SplitName(split);
  FG_ASSIGN_OR_RETURN(NpzArray array,
                      OpenNpzArray(archive, prefix + "_images"));
  FG_ASSIGN_OR_RETURN(StoredImages images,
                      CheckImages(array, options.pixels_max));
  const uint64_t count = array.header.shape[0];

  const std::string labels_name = prefix + "_labels";
  std::vector<int64_t> labels(count, -1), patients;
  if (!IsUnlabelled(context) && (context.use == DataUse::kTrain ||
                                 archive.Contains(labels_name + ".npy"))) {
    FG_ASSIGN_OR_RETURN(labels, ReadNpzIntegers(archive, labels_name));
    FG_RETURN_IF_ERROR(CheckNpzCount(labels_name, labels.size(), count));
    FG_RETURN_IF_ERROR(
        CheckNpzLabels(labels_name, labels, context.classes.size()));
  }
  const std::string patients_name = prefix + "_patient";
  if (archive.Contains(patients_name + ".npy")) {
    FG_ASSIGN_OR_RETURN(patients, ReadNpzIntegers(archive, patients_name));
    FG_RETURN_IF_ERROR(CheckNpzCount(patients_name, patients.size(), count));
  }

  const std::vector<bool> chosen = ChooseShard(count, patients, options, split);
  FG_RETURN_IF_ERROR(ReadChosen(array, chosen, images));
  for (size_t i = 0; i < count; ++i) {
    if (!chosen[i]) continue;
    samples_[split].push_back(
        {static_cast<int>(labels[i]),
         patients.empty() ? "" : absl::StrCat(patients[i]),
         absl::StrCat(images.name, "[", i, "]")});
  }
  images_[static_cast<size_t>(split)] = std::move(images);
  return absl::OkStatus();
}

absl::StatusOr<Image> NpzSource::Load(Split split, size_t index) const {
  FG_CHECK(index < samples_[split].size());
  const StoredImages& stored = images_[static_cast<size_t>(split)];
  const size_t row_bytes = stored.header.row_bytes();
  const uint8_t* row = stored.data.data() + index * row_bytes;
  Image image{stored.height, stored.width, stored.channels, {}};
  image.pixels.resize(static_cast<size_t>(stored.height) * stored.width *
                      stored.channels);
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    float& value = image.pixels[i];
    if (stored.header.kind == 'f') {
      std::memcpy(&value, row + 4 * i, 4);
      if (!(value >= 0 && value <= 1)) {  // NaN too
        return absl::InvalidArgumentError(
            absl::StrCat(samples_[split][index].name,
                         ": expected values from 0 to 1, found ", value));
      }
    } else if (stored.header.item_bytes == 1) {
      value = static_cast<float>(row[i]) / 255.0f;
    } else {
      value = static_cast<float>(row[2 * i] | row[2 * i + 1] << 8) / 65535.0f;
    }
  }
  return image;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenNpzSource(
    const NpzOptions& options, const DataContext& context) {
  if (options.shard_count < 1 || options.shard_index < 0 ||
      options.shard_index >= options.shard_count) {
    return absl::InvalidArgumentError(
        absl::StrCat("data: expected shard_index below shard_count, found ",
                     options.shard_index, " and ", options.shard_count));
  }
  auto source = std::make_unique<NpzSource>();
  if (absl::Status filled = source->Fill(options, context); !filled.ok()) {
    return Annotate(filled, options.path);
  }
  FG_RETURN_IF_ERROR(source->Check(options, context));
  return std::unique_ptr<DataSource>(std::move(source));
}

}  // namespace fedgraft
