#include "aggregator/net/run_model_loader.h"

#include "absl/strings/str_cat.h"
#include "aggregator/round/round_reducer.h"
#include "common/base/status_macros.h"
#include "common/config/identity.h"
#include "common/crypto/sha256.h"
#include "common/model/backbone_file.h"
#include "common/model/safetensors.h"
#include "common/model/trainable_set.h"
#include "common/runtime/blob_store.h"
#include "common/runtime/posix_file_store.h"

namespace fedgraft {
namespace {

constexpr uint64_t kCopyBytes = 1 << 20;

// `path` split into its folder, opened as a store, and its name there.
absl::StatusOr<std::unique_ptr<ReadableFile>> OpenAnywhere(
    const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "backbone path \"", path, "\" is not an absolute path of a file"));
  }
  FG_ASSIGN_OR_RETURN(const auto folder,
                      PosixFileStore::Open(path.substr(0, slash + 1)));
  return folder->OpenRead(path.substr(slash + 1));
}

// Calls `take` with the file's bytes in order.
absl::Status ForEachPiece(const ReadableFile& file,
                          const std::function<absl::Status(ByteSpan)>& take) {
  Bytes piece;
  for (uint64_t offset = 0; offset < file.size_bytes();
       offset += piece.size()) {
    piece.resize(std::min(kCopyBytes, file.size_bytes() - offset));
    FG_RETURN_IF_ERROR(file.ReadAt(offset, absl::MakeSpan(piece)));
    FG_RETURN_IF_ERROR(take(piece));
  }
  return absl::OkStatus();
}

absl::StatusOr<Digest> DigestOf(const ReadableFile& file) {
  Sha256Hasher hasher;
  FG_RETURN_IF_ERROR(ForEachPiece(file, [&hasher](ByteSpan piece) {
    hasher.Update(piece);
    return absl::OkStatus();
  }));
  return hasher.Finish();
}

absl::Status FillIn(const Plan& plan, const SafetensorsFile& backbone,
                    RunModel& model) {
  FG_ASSIGN_OR_RETURN(model.layout, TrainableLayout(plan, backbone));
  FG_ASSIGN_OR_RETURN(model.initial,
                      InitialTrainableSet(plan, model.layout, backbone));
  return absl::OkStatus();
}

absl::StatusOr<RunModel> Load(FileStore& files, const Plan& plan,
                              const std::string& path) {
  FG_RETURN_IF_ERROR(CheckBackbonePath(plan, path));
  RunModel model;
  if (!HasBackbone(plan)) {
    FG_ASSIGN_OR_RETURN(const SafetensorsFile none, OpenBackbone(plan, path));
    FG_RETURN_IF_ERROR(FillIn(plan, none, model));
    return model;
  }
  FG_ASSIGN_OR_RETURN(const auto file, OpenAnywhere(path));
  FG_ASSIGN_OR_RETURN(const Digest digest, DigestOf(*file));
  if (digest != plan.backbone) {
    return absl::FailedPreconditionError(
        absl::StrCat("backbone ", path, " has SHA-256 ", digest.Hex(),
                     ", the plan wants ", plan.backbone.Hex()));
  }
  FG_ASSIGN_OR_RETURN(const SafetensorsFile tensors, OpenBackbone(plan, path));
  FG_RETURN_IF_ERROR(FillIn(plan, tensors, model));
  model.backbone_size_bytes = file->size_bytes();

  BlobStore blobs(files, kBlobFolder);
  if (!blobs.Has(plan.backbone)) {
    FG_ASSIGN_OR_RETURN(const auto put,
                        blobs.BeginPut(plan.backbone, file->size_bytes()));
    // What an interrupted copy left is verified with the rest at the end.
    uint64_t skip = put->offset();
    FG_RETURN_IF_ERROR(
        ForEachPiece(*file, [&put, &skip](ByteSpan piece) -> absl::Status {
          const uint64_t cut = std::min<uint64_t>(skip, piece.size());
          skip -= cut;
          return put->Append(piece.subspan(cut));
        }));
    FG_RETURN_IF_ERROR(put->Finish());
  }
  return model;
}

}  // namespace

absl::StatusOr<Digest> DigestOfBackbone(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const auto file, OpenAnywhere(path));
  return DigestOf(*file);
}

RunModelLoader MakeRunModelLoader(FileStore& files) {
  return [&files](const Plan& plan, const std::string& path) {
    return Load(files, plan, path);
  };
}

}  // namespace fedgraft
