#include "common/model/safetensors.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/half_float.h"
#include "common/base/status_macros.h"
#include "common/model/mapped_file.h"
#include "common/model/safetensors_header.h"
#include "common/model/tensor_mismatch.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

std::vector<float> Widen(ByteSpan data, float (*widen)(uint16_t)) {
  std::vector<float> values(data.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t word;
    std::memcpy(&word, data.data() + 2 * i, sizeof(word));
    values[i] = widen(word);
  }
  return values;
}

absl::Status CheckAgainst(const ParameterLayout& layout,
                          const std::map<std::string, TensorView>& tensors) {
  TensorMismatch mismatch;
  for (const TensorSpec& spec : layout.tensors()) {
    const auto found = tensors.find(spec.name);
    if (found == tensors.end()) {
      mismatch.AddMissing(spec.name);
    } else if (found->second.shape != spec.shape ||
               found->second.dtype != DType::kF32) {
      mismatch.AddMisshapen(spec.name,
                            absl::StrCat("F32 ", ShapeText(spec.shape)),
                            found->second);
    }
  }
  for (const auto& [name, view] : tensors) {
    if (!layout.Find(name).ok()) mismatch.AddUnexpected(name);
  }
  return mismatch.ToStatus("trainable set");
}

void AppendRaw(Bytes& out, ByteSpan data) {
  out.insert(out.end(), data.begin(), data.end());
}

}  // namespace

struct SafetensorsFile::State {
  // Where the bytes live: one of these two.
  std::optional<MappedFile> mapped;
  Bytes owned;
  SafetensorsHeader header;
};

SafetensorsFile::SafetensorsFile(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept =
    default;
SafetensorsFile::~SafetensorsFile() = default;

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  FG_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  auto state = std::make_unique<State>();
  state->mapped = std::move(mapped);
  FG_ASSIGN_OR_RETURN(state->header,
                      ParseSafetensorsHeader(state->mapped->bytes(), path));
  return SafetensorsFile(std::move(state));
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(Bytes content,
                                                       std::string_view name) {
  auto state = std::make_unique<State>();
  state->owned = std::move(content);
  FG_ASSIGN_OR_RETURN(
      state->header,
      ParseSafetensorsHeader(state->owned, {name.data(), name.size()}));
  return SafetensorsFile(std::move(state));
}

const std::map<std::string, TensorView>& SafetensorsFile::tensors() const {
  return state_->header.tensors;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return state_->header.metadata;
}

absl::StatusOr<std::vector<float>> SafetensorsFile::ReadFloats(
    std::string_view name) const {
  const auto found = tensors().find(std::string(name));
  if (found == tensors().end()) {
    return absl::NotFoundError(
        absl::StrCat("no tensor \"", std::string(name), "\""));
  }
  const TensorView& view = found->second;
  switch (view.dtype) {
    case DType::kF32: {
      std::vector<float> values(view.data.size() / sizeof(float));
      if (!values.empty()) {
        std::memcpy(values.data(), view.data.data(), view.data.size());
      }
      return values;
    }
    case DType::kF16:
      return Widen(view.data, HalfToFloat);
    case DType::kBF16:
      return Widen(view.data, BrainToFloat);
    case DType::kI64:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor \"", std::string(name), "\" holds integers, not floats"));
}

namespace {

// What precedes the data. `order`: of the tensors' data.
absl::StatusOr<Bytes> EncodeHead(
    const std::map<std::string, TensorToWrite>& tensors,
    const std::map<std::string, std::string>& metadata,
    std::vector<const TensorToWrite*>& order) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  // Eight-byte elements first, so that every tensor is aligned.
  uint64_t offset = 0;
  for (DType dtype : {DType::kI64, DType::kF32}) {
    for (const auto& [name, tensor] : tensors) {
      if (tensor.dtype != dtype) continue;
      const TensorSpec spec{name, tensor.shape};
      if (name.empty() || name == "__metadata__" ||
          spec.Count() * static_cast<int64_t>(DTypeSize(dtype)) !=
              static_cast<int64_t>(tensor.data.size())) {
        return absl::InvalidArgumentError(absl::StrCat(
            "cannot write tensor \"", name, "\" of shape ",
            ShapeText(tensor.shape), " with ", tensor.data.size(), " bytes"));
      }
      order.push_back(&tensor);
      header[name] = {{"dtype", DTypeName(dtype)},
                      {"shape", tensor.shape},
                      {"data_offsets", {offset, offset + tensor.data.size()}}};
      offset += tensor.data.size();
    }
  }
  if (order.size() != tensors.size()) {
    return absl::InvalidArgumentError("only F32 and I64 tensors are written");
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(
        "a tensor name or metadata is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  Bytes head = ByteWriter().U64(text.size()).bytes();
  AppendRaw(head, AsBytes(text));
  return head;
}

}  // namespace

absl::StatusOr<Bytes> EncodeSafetensors(
    const std::map<std::string, TensorToWrite>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorToWrite*> order;  // of the data
  FG_ASSIGN_OR_RETURN(Bytes out, EncodeHead(tensors, metadata, order));
  size_t size = out.size();
  for (const TensorToWrite* tensor : order) size += tensor->data.size();
  out.reserve(size);
  for (const TensorToWrite* tensor : order) AppendRaw(out, tensor->data);
  return out;
}

Bytes TrainableSetHead(const ParameterLayout& layout,
                       absl::Span<const float> values) {
  FG_CHECK(static_cast<int64_t>(values.size()) == layout.Count());
  std::map<std::string, TensorToWrite> tensors;
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& spec = layout.tensors()[i];
    const float* first = values.data() + layout.Offset(i);
    tensors[spec.name] = {
        DType::kF32, spec.shape,
        ByteSpan(reinterpret_cast<const uint8_t*>(first),
                 static_cast<size_t>(spec.Count()) * sizeof(float))};
  }
  std::vector<const TensorToWrite*> order;
  auto head = EncodeHead(tensors, {}, order);
  FG_CHECK(head.ok());  // the layout's own names and sizes
  return *std::move(head);
}

Bytes EncodeTrainableSet(const ParameterLayout& layout,
                         const ParameterVector& values) {
  Bytes out = TrainableSetHead(layout, values);
  const ByteSpan data(reinterpret_cast<const uint8_t*>(values.data()),
                      values.size() * sizeof(float));
  out.reserve(out.size() + data.size());
  AppendRaw(out, data);
  return out;
}

absl::StatusOr<ParameterVector> DecodeTrainableSet(
    const ParameterLayout& layout, ByteSpan content) {
  FG_ASSIGN_OR_RETURN(const SafetensorsHeader header,
                      ParseSafetensorsHeader(content, "of a trainable set"));
  FG_RETURN_IF_ERROR(CheckAgainst(layout, header.tensors));
  ParameterVector values(static_cast<size_t>(layout.Count()));
  for (size_t i = 0; i < layout.tensors().size(); ++i) {
    const std::string& name = layout.tensors()[i].name;
    const ByteSpan data = header.tensors.at(name).data;
    float* first = values.data() + layout.Offset(i);
    if (!data.empty()) std::memcpy(first, data.data(), data.size());
    for (size_t k = 0; k < data.size() / sizeof(float); ++k) {
      if (!std::isfinite(first[k])) {
        return absl::InvalidArgumentError(absl::StrCat(
            "trainable set: element ", k, " of ", name, " is not finite"));
      }
    }
  }
  return values;
}

}  // namespace fedgraft
