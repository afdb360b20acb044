#include "client/data/embeddings_source.h"

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/data/feature_source.h"
#include "client/data/manifest.h"
#include "client/data/npz_array.h"
#include "client/data/splits.h"
#include "client/data/zip_archive.h"
#include "common/base/bytes.h"
#include "common/base/half_float.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr uint64_t kSplitBytesMax = uint64_t{8} << 30;

float FloatAt(const NpyHeader& header, const uint8_t* data) {
  if (header.item_bytes == 8) {
    double value;
    std::memcpy(&value, data, sizeof(value));
    return static_cast<float>(value);
  }
  if (header.item_bytes == 4) {
    float value;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }
  uint16_t word;
  std::memcpy(&word, data, sizeof(word));
  return HalfToFloat(word);
}

class EmbeddingsReader {
 public:
  EmbeddingsReader(const EmbeddingsOptions& options, const DataContext& context)
      : options_(options), context_(context) {}

  absl::StatusOr<FeatureSet> Read() {
    FG_ASSIGN_OR_RETURN(const ZipArchive archive,
                        ZipArchive::Open(options_.path));
    const bool predict = context_.use == DataUse::kPredict;
    const Split needed = predict ? Split::kTest : Split::kTrain;
    bool splits_given = false;
    for (const Split split : kAllSplits) {
      if (predict && split != needed) continue;
      const std::string name = SplitName(split) + "_features";
      if (archive.Contains(name + ".npy")) {
        FG_RETURN_IF_ERROR(ReadSplit(archive, split));
        splits_given = splits_given || split != Split::kTrain;
      } else if (split == needed) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected an array ", name, ", found none"));
      }
    }
    if (!predict && !splits_given) DivideTraining();
    return std::move(set_);
  }

 private:
  absl::Status ReadSplit(const ZipArchive& archive, Split split);
  absl::Status ReadValues(NpzArray& array, std::vector<float>& values);
  void DivideTraining();

  const EmbeddingsOptions& options_;
  const DataContext& context_;
  FeatureSet set_;
};

absl::Status EmbeddingsReader::ReadValues(NpzArray& array,
                                          std::vector<float>& values) {
  const NpyHeader& header = array.header;
  const std::vector<uint64_t>& shape = header.shape;
  if (header.kind != 'f' || shape.size() != 2 || shape[0] > kNpzRowsMax ||
      shape[1] < 1 || shape[1] > kFeatureDimMax) {
    return NpzExpected(
        array.name,
        absl::StrCat("float16, float32 or float64 vectors of shape (N, D), D "
                     "from 1 to ",
                     kFeatureDimMax),
        header);
  }
  const int dim = static_cast<int>(shape[1]);
  if (set_.dim != 0 && set_.dim != dim) {
    return NpzExpected(
        array.name,
        absl::StrCat("vectors of length ", set_.dim, " as in train_features"),
        header);
  }
  set_.dim = dim;
  const uint64_t row_bytes = shape[1] * sizeof(float);
  if (shape[0] > kSplitBytesMax / row_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(array.name, ": expected at most ", kSplitBytesMax,
                     " bytes as float32, found ", header.ToString()));
  }
  Bytes row(header.row_bytes());
  const auto width = static_cast<size_t>(header.item_bytes);
  values.reserve(shape[0] * shape[1]);
  for (uint64_t i = 0; i < shape[0]; ++i) {
    FG_RETURN_IF_ERROR(array.member.Read(absl::MakeSpan(row)));
    for (size_t at = 0; at < row.size(); at += width) {
      values.push_back(FloatAt(header, row.data() + at));
    }
  }
  return array.member.Finish();
}

absl::Status EmbeddingsReader::ReadSplit(const ZipArchive& archive,
                                         Split split) {
  const std::string prefix = SplitName(split);
  FG_ASSIGN_OR_RETURN(NpzArray array,
                      OpenNpzArray(archive, prefix + "_features"));
  FG_RETURN_IF_ERROR(ReadValues(array, set_.Values(split)));
  const uint64_t count = array.header.shape[0];
  const std::string labels_name = prefix + "_labels";
  std::vector<int64_t> labels(count, -1), patients;
  if (archive.Contains(labels_name + ".npy") ||
      context_.use == DataUse::kTrain) {
    FG_ASSIGN_OR_RETURN(labels, ReadNpzIntegers(archive, labels_name));
    FG_RETURN_IF_ERROR(CheckNpzCount(labels_name, labels.size(), count));
    FG_RETURN_IF_ERROR(
        CheckNpzLabels(labels_name, labels, context_.classes.size()));
  }
  const std::string patients_name = prefix + "_patient";
  if (archive.Contains(patients_name + ".npy")) {
    FG_ASSIGN_OR_RETURN(patients, ReadNpzIntegers(archive, patients_name));
    FG_RETURN_IF_ERROR(CheckNpzCount(patients_name, patients.size(), count));
  }
  for (size_t i = 0; i < count; ++i) {
    set_.samples[split].push_back(
        {static_cast<int>(labels[i]),
         patients.empty() ? "" : absl::StrCat(patients[i]),
         absl::StrCat(array.name, "[", i, "]")});
  }
  return absl::OkStatus();
}

void EmbeddingsReader::DivideTraining() {
  const std::vector<Sample> samples = std::move(set_.samples[Split::kTrain]);
  const std::vector<float> values = std::move(set_.Values(Split::kTrain));
  set_.samples[Split::kTrain].clear();
  set_.Values(Split::kTrain).clear();
  std::vector<SplitCandidate> candidates;
  for (const Sample& sample : samples) {
    candidates.push_back(
        {sample.patient.empty() ? sample.name : sample.patient, sample.label});
  }
  const std::vector<Split> splits =
      SplitByPatient(candidates, options_.fractions);
  for (size_t i = 0; i < samples.size(); ++i) {
    set_.samples[splits[i]].push_back(samples[i]);
    const auto first = values.begin() + static_cast<ptrdiff_t>(i) *
                                            static_cast<ptrdiff_t>(set_.dim);
    std::vector<float>& to = set_.Values(splits[i]);
    to.insert(to.end(), first, first + set_.dim);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataSource>> OpenEmbeddingsSource(
    const EmbeddingsOptions& options, const DataContext& context) {
  FG_RETURN_IF_ERROR(CheckFractions(options.fractions));
  absl::StatusOr<FeatureSet> set = EmbeddingsReader(options, context).Read();
  if (!set.ok()) return Annotate(set.status(), options.path);
  return MakeFeatureSource(*std::move(set), options.path, context);
}

}  // namespace fedgraft
