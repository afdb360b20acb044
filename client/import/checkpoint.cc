#include "client/import/checkpoint.h"

#include <algorithm>
#include <fstream>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client/import/torch_checkpoint.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace fedgraft {
namespace {

ElementType TypeOf(DType type) {
  switch (type) {
    case DType::kF32:
      return ElementType::kF32;
    case DType::kF16:
      return ElementType::kF16;
    case DType::kBF16:
      return ElementType::kBF16;
    case DType::kI64:
      break;
  }
  return ElementType::kI64;
}

class SafetensorsCheckpoint final : public Checkpoint {
 public:
  explicit SafetensorsCheckpoint(SafetensorsFile file)
      : file_(std::move(file)) {
    for (const auto& [name, view] : file_.tensors()) {
      tensors_[name] = {TypeOf(view.dtype), view.shape};
    }
  }
  const std::map<std::string, CheckpointTensor>& tensors() const override {
    return tensors_;
  }
  const std::vector<std::string>& others() const override { return others_; }
  absl::StatusOr<Bytes> Read(const std::string& name) override {
    return ToBytes(file_.tensors().at(name).data);
  }

 private:
  SafetensorsFile file_;
  std::map<std::string, CheckpointTensor> tensors_;
  std::vector<std::string> others_;
};

// The first bytes of the file, as many as there are up to 16.
absl::StatusOr<std::string> ReadStart(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError("no such file, or it cannot be read");
  std::string start(16, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(file.gcount()));
  return start;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenTorch(const std::string& path,
                                                      std::string_view start) {
  if (start.starts_with("PK")) return OpenTorchArchive(path);
  if (start.starts_with(kLegacyTorchStart)) return OpenLegacyTorchFile(path);
  return absl::InvalidArgumentError(
      "expected a file of torch.save or a safetensors file, found neither; an "
      "old file can be written anew in Python by torch.save(torch.load(FILE), "
      "NEW, _use_new_zipfile_serialization=True)");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(
    const std::string& path) {
  const absl::StatusOr<std::string> start = ReadStart(path);
  if (!start.ok()) return Annotate(start.status(), path);
  // After the size of a safetensors header comes its JSON.
  if (start->size() > 8 && (*start)[8] == '{') {
    FG_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path));
    return std::make_unique<SafetensorsCheckpoint>(std::move(file));
  }
  auto checkpoint = OpenTorch(path, *start);
  if (!checkpoint.ok()) return Annotate(checkpoint.status(), path);
  return checkpoint;
}

}  // namespace fedgraft
