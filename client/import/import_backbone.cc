#include "client/import/import_backbone.h"

#include <cmath>
#include <cstring>
#include <map>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/half_float.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"
#include "common/model/tensor_mismatch.h"
#include "common/model/trainable_set.h"

namespace fedgraft {
namespace {

// A head of more classes is not the head of a classifier.
constexpr int64_t kHeadClassesMax = 65536;

using Shape = std::vector<int64_t>;

// The names of the output, each with its name in the checkpoint.
using NameMap = std::map<std::string, std::string>;

bool IsFloating(ElementType type) {
  return type == ElementType::kF64 || type == ElementType::kF32 ||
         type == ElementType::kF16 || type == ElementType::kBF16;
}

bool IsCounter(const std::string& name) {
  return name.ends_with(".num_batches_tracked");
}

std::string TensorText(const CheckpointTensor& tensor) {
  return absl::StrCat(ElementName(tensor.type), " ", ShapeText(tensor.shape));
}

float FloatAt(ElementType type, const uint8_t* data) {
  if (type == ElementType::kF64) {
    double value;
    std::memcpy(&value, data, sizeof(value));
    return static_cast<float>(value);
  }
  if (type == ElementType::kF32) {
    float value;
    std::memcpy(&value, data, sizeof(value));
    return value;
  }
  uint16_t word;
  std::memcpy(&word, data, sizeof(word));
  return type == ElementType::kF16 ? HalfToFloat(word) : BrainToFloat(word);
}

// One import: names first, then shapes, then values.
class Importer {
 public:
  Importer(Checkpoint& checkpoint, const ImportOptions& options,
           Architecture architecture)
      : checkpoint_(checkpoint),
        options_(options),
        architecture_(std::move(architecture)),
        expected_(BackboneTensors(architecture_)),
        head_(architecture_.head_prefix + ".") {}

  absl::StatusOr<ImportedBackbone> Run() {
    FG_RETURN_IF_ERROR(MapNames());
    DropOddHead();
    FG_RETURN_IF_ERROR(CheckShapes());
    return Encode();
  }

 private:
  absl::Status MapNames();
  absl::StatusOr<std::string> NewName(const std::string& old_name,
                                      std::vector<bool>& used) const;
  void DropOddHead();
  bool IsHeadShape(const std::string& name, const Shape& shape) const;
  absl::Status CheckShapes() const;
  std::string Advice() const;
  // The backbone's one tensor with three input channels.
  bool IsFirstLayer(const std::string& name) const {
    const auto found = expected_.find(name);
    return found != expected_.end() && found->second.size() == 4 &&
           found->second[1] == 3;
  }
  bool Widens(const std::string& name) const {
    return options_.input_channels == 1 && IsFirstLayer(name);
  }
  // What the checkpoint must have. REQUIRES: a tensor of the backbone.
  Shape SourceShape(const std::string& name) const {
    Shape shape = expected_.at(name);
    if (Widens(name)) shape[1] = 1;
    return shape;
  }
  absl::StatusOr<Bytes> ReadFloats(const std::string& name);
  absl::StatusOr<ImportedBackbone> Encode();
  const CheckpointTensor& Source(const std::string& name) const {
    return checkpoint_.tensors().at(names_.at(name));
  }

  Checkpoint& checkpoint_;
  const ImportOptions& options_;
  const Architecture architecture_;
  const std::map<std::string, Shape> expected_;
  const std::string head_;
  NameMap names_;
  ImportedBackbone result_;
};

absl::StatusOr<std::string> Importer::NewName(const std::string& old_name,
                                              std::vector<bool>& used) const {
  absl::string_view rest = old_name;
  used[0] = absl::ConsumePrefix(&rest, options_.strip_prefix) || used[0];
  std::string name(rest);
  for (size_t i = 0; i < options_.renames.size(); ++i) {
    const auto& [from, to] = options_.renames[i];
    const size_t at = name.find(from);
    if (from.empty() || at == std::string::npos) continue;
    name.replace(at, from.size(), to);
    used[1 + i] = true;
  }
  const std::string other_head = options_.head_prefix + ".";
  if (!options_.head_prefix.empty() && name.starts_with(other_head)) {
    name = head_ + name.substr(other_head.size());
    used.back() = true;
  }
  return name;
}

absl::Status Importer::MapNames() {
  // Which of the options matched a name: strip_prefix, renames, head_prefix.
  std::vector<bool> used(options_.renames.size() + 2, false);
  for (const auto& [old_name, tensor] : checkpoint_.tensors()) {
    FG_ASSIGN_OR_RETURN(const std::string name, NewName(old_name, used));
    const auto [place, is_new] = names_.try_emplace(name, old_name);
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrCat("the names ", place->second, " and ", old_name,
                       " both become ", name));
    }
    if (name != old_name) {
      result_.renamed.push_back(absl::StrCat(old_name, " -> ", name));
    }
  }
  const auto unused = [](absl::string_view option, absl::string_view text) {
    return absl::InvalidArgumentError(
        absl::StrCat("--", option, " ", text, ": matches no name"));
  };
  if (!options_.strip_prefix.empty() && !used[0]) {
    return unused("strip-prefix", options_.strip_prefix);
  }
  for (size_t i = 0; i < options_.renames.size(); ++i) {
    if (!used[1 + i]) return unused("rename", options_.renames[i].first);
  }
  if (!options_.head_prefix.empty() && !used.back()) {
    return unused("head-prefix", options_.head_prefix);
  }
  return absl::OkStatus();
}

bool Importer::IsHeadShape(const std::string& name, const Shape& shape) const {
  if (shape.empty() || shape[0] < 1 || shape[0] > kHeadClassesMax) return false;
  if (name == head_ + "bias") return shape.size() == 1;
  if (name != head_ + "weight") return false;
  Shape expected = {shape[0], architecture_.feature_dim};
  if (architecture_.head_is_convolution) {
    expected.insert(expected.end(), {1, 1});
  }
  return shape == expected;
}

// Both tensors of the usual head are kept, or nothing of it.
void Importer::DropOddHead() {
  size_t good = 0, all = 0;
  for (const auto& [name, old_name] : names_) {
    if (!name.starts_with(head_)) continue;
    const CheckpointTensor& tensor = Source(name);
    ++all;
    good += IsFloating(tensor.type) && IsHeadShape(name, tensor.shape) ? 1 : 0;
  }
  if (all == 2 && good == 2) return;
  for (auto it = names_.begin(); it != names_.end();) {
    if (!it->first.starts_with(head_)) {
      ++it;
      continue;
    }
    result_.dropped.push_back(
        absl::StrCat(it->second, " ", TensorText(Source(it->first))));
    it = names_.erase(it);
  }
}

absl::Status Importer::CheckShapes() const {
  TensorMismatch mismatch;
  for (const auto& [name, shape] : expected_) {
    if (!names_.contains(name)) {
      mismatch.AddMissing(name);
      continue;
    }
    const CheckpointTensor& tensor = Source(name);
    const Shape wanted = SourceShape(name);
    if (!IsFloating(tensor.type) || tensor.shape != wanted) {
      mismatch.AddMisshapen(name, absl::StrCat("floats ", ShapeText(wanted)),
                            TensorText(tensor));
    }
  }
  for (const auto& [name, old_name] : names_) {
    if (expected_.contains(name) || name.starts_with(head_)) continue;
    if (!IsCounter(name)) {
      mismatch.AddUnexpected(name);
    } else if (Source(name).type != ElementType::kI64 ||
               !Source(name).shape.empty()) {
      mismatch.AddMisshapen(name, "I64 []", TensorText(Source(name)));
    }
  }
  for (const std::string& other : checkpoint_.others()) {
    mismatch.AddUnexpected(other);
  }
  const absl::Status status = mismatch.ToStatus(
      absl::StrCat("the checkpoint is not a ", architecture_.name));
  if (status.ok()) return status;
  return absl::InvalidArgumentError(absl::StrCat(status.message(), Advice()));
}

// Which option would help, as far as that can be told.
std::string Importer::Advice() const {
  std::string advice;
  // A wrapper in Python puts its name before all others.
  std::map<std::string, int> prefixes;
  for (const auto& [name, old_name] : names_) {
    const size_t dot = name.find('.');
    if (dot == std::string::npos || expected_.contains(name)) continue;
    if (expected_.contains(name.substr(dot + 1))) {
      ++prefixes[name.substr(0, dot + 1)];
    }
  }
  for (const auto& [prefix, count] : prefixes) {
    absl::StrAppend(&advice, "; ", count, " names would fit without \"", prefix,
                    "\": give --strip-prefix ", prefix);
  }
  for (const auto& [name, old_name] : names_) {
    if (IsFirstLayer(name) && options_.input_channels == 3 &&
        Source(name).shape.size() == 4 && Source(name).shape[1] == 1) {
      absl::StrAppend(&advice, "; ", name,
                      " is for grey images: give --input-channels 1");
    }
    if (!expected_.contains(name) && !name.starts_with(head_) &&
        name.ends_with(".weight") && options_.head_prefix.empty() &&
        Source(name).shape.size() >= 2 &&
        Source(name).shape[1] == architecture_.feature_dim) {
      absl::StrAppend(
          &advice, "; if it is the classifier, give --head-prefix ",
          name.substr(0, name.size() - std::string_view(".weight").size()));
    }
  }
  return advice;
}

// The values of a tensor of the output, as F32.
absl::StatusOr<Bytes> Importer::ReadFloats(const std::string& name) {
  const CheckpointTensor& source = Source(name);
  FG_ASSIGN_OR_RETURN(const Bytes raw, checkpoint_.Read(names_.at(name)));
  const size_t width = ElementBytes(source.type);
  const bool widens = Widens(name);
  const size_t count = raw.size() / width;
  // Widened: each filter is followed by two copies of itself.
  const size_t filter =
      widens ? static_cast<size_t>(source.shape[2] * source.shape[3]) : count;
  const size_t copies = widens ? 3 : 1;
  Bytes out(count * copies * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    float value = FloatAt(source.type, raw.data() + i * width);
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat(names_.at(name), "[", i, "]: expected a finite number"));
    }
    if (widens) value /= 3;
    for (size_t copy = 0; copy < copies; ++copy) {
      const size_t to = (i / filter * copies + copy) * filter + i % filter;
      std::memcpy(out.data() + to * sizeof(float), &value, sizeof(float));
    }
  }
  return out;
}

absl::StatusOr<ImportedBackbone> Importer::Encode() {
  std::map<std::string, Bytes> values;  // keeps the data alive
  std::map<std::string, TensorToWrite> tensors;
  for (const auto& [name, old_name] : names_) {
    const CheckpointTensor& source = Source(name);
    TensorToWrite& tensor = tensors[name];
    tensor.shape = source.shape;
    if (IsCounter(name)) {
      tensor.dtype = DType::kI64;
      FG_ASSIGN_OR_RETURN(values[name], checkpoint_.Read(old_name));
    } else {
      FG_ASSIGN_OR_RETURN(values[name], ReadFloats(name));
    }
    if (Widens(name)) {
      tensor.shape[1] = 3;
      result_.converted.push_back(absl::StrCat(
          name, ": 1 channel to 3, a third of each weight in each"));
    }
    tensor.data = values[name];
  }
  FG_ASSIGN_OR_RETURN(
      result_.safetensors,
      EncodeSafetensors(
          tensors, {{"format", "pt"}, {"architecture", architecture_.name}}));
  result_.num_tensors = tensors.size();
  return std::move(result_);
}

}  // namespace

absl::StatusOr<ImportedBackbone> ImportBackbone(Checkpoint& checkpoint,
                                                const ImportOptions& options) {
  FG_ASSIGN_OR_RETURN(Architecture architecture,
                      FindArchitecture(options.architecture));
  if (options.input_channels != 1 && options.input_channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input channels: expected 1 or 3, found ", options.input_channels));
  }
  return Importer(checkpoint, options, std::move(architecture)).Run();
}

}  // namespace fedgraft
