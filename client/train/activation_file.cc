#include "client/train/activation_file.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

constexpr const char* kImages = "images";  // [n, 4] I64: the digests
constexpr const char* kValues = "activations";
constexpr const char* kChecksum = "sha256";

std::string Checksum(ByteSpan images, ByteSpan values) {
  Sha256Hasher hasher;
  hasher.Update(images);
  hasher.Update(values);
  return hasher.Finish().Hex();
}

}  // namespace

absl::StatusOr<CachedActivations> ReadActivations(FileStore& files,
                                                  const std::string& name) {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadAll(files, name));
  absl::StatusOr<SafetensorsFile> file =
      SafetensorsFile::Parse(std::move(content), name);
  if (!file.ok()) {
    return absl::DataLossError(std::string(file.status().message()));
  }
  auto images = file->tensors().find(kImages);
  auto values = file->tensors().find(kValues);
  auto checksum = file->metadata().find(kChecksum);
  if (images == file->tensors().end() || values == file->tensors().end() ||
      checksum == file->metadata().end() ||
      checksum->second != Checksum(images->second.data, values->second.data)) {
    return absl::DataLossError(absl::StrCat(name, ": checksum does not match"));
  }
  const std::vector<int64_t>& shape = values->second.shape;
  const size_t count = images->second.data.size() / sizeof(Digest::bytes);
  if (values->second.dtype != DType::kF32 || shape.size() < 2 ||
      shape[0] != static_cast<int64_t>(count)) {
    return absl::DataLossError(absl::StrCat(name, ": not activations"));
  }
  CachedActivations cached;
  cached.values = torch::empty(shape, torch::kFloat32);
  std::memcpy(cached.values.data_ptr<float>(), values->second.data.data(),
              values->second.data.size());
  for (size_t i = 0; i < count; ++i) {
    Digest digest;
    std::memcpy(digest.bytes.data(),
                images->second.data.data() + i * digest.bytes.size(),
                digest.bytes.size());
    cached.rows[digest] = static_cast<int64_t>(i);
  }
  return cached;
}

absl::Status WriteActivations(FileStore& files, const std::string& name,
                              const std::vector<Digest>& images,
                              const torch::Tensor& values) {
  const torch::Tensor data = values.contiguous();
  const ByteSpan value_bytes(static_cast<const uint8_t*>(data.data_ptr()),
                             data.nbytes());
  Bytes image_bytes;
  for (const Digest& digest : images) {
    image_bytes.insert(image_bytes.end(), digest.bytes.begin(),
                       digest.bytes.end());
  }
  FG_ASSIGN_OR_RETURN(
      Bytes content,
      EncodeSafetensors(
          {{kImages,
            {DType::kI64,
             {static_cast<int64_t>(images.size()), 4},
             image_bytes}},
           {kValues, {DType::kF32, data.sizes().vec(), value_bytes}}},
          {{kChecksum, Checksum(image_bytes, value_bytes)}}));
  return WriteAtomically(files, name, content);
}

}  // namespace fedgraft
