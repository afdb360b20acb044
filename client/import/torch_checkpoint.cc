#include "client/import/torch_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/data/read_file.h"
#include "client/data/zip_archive.h"
#include "client/import/pickle_reader.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr uint64_t kStorageBytesMax = uint64_t{8} << 30;
constexpr uint64_t kPickleBytesMax = uint64_t{16} << 20;
// A whole training state has several tensors for each of the model.
constexpr int64_t kMembersMax = 100'000;

// The elements of a storage, as many as it says it has.
using StorageReader =
    std::function<absl::StatusOr<Bytes>(const PickledStorage&)>;

uint64_t StorageBytes(const PickledStorage& storage) {
  return storage.count * ElementBytes(storage.type);
}

// Copies a view of `storage` into row-major order.
Bytes Gather(const PickledTensor& tensor, ByteSpan storage) {
  const size_t width = ElementBytes(tensor.storage.type);
  const size_t dims = tensor.shape.size();
  size_t count = 1;
  for (const int64_t dimension : tensor.shape) {
    count *= static_cast<size_t>(dimension);
  }
  Bytes out(count * width);
  std::vector<int64_t> index(dims, 0);
  uint64_t at = tensor.offset;
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * width, storage.data() + at * width, width);
    // The next index, like an odometer.
    for (size_t d = dims; d-- > 0;) {
      const auto stride = static_cast<uint64_t>(tensor.strides[d]);
      at += stride;
      if (++index[d] < tensor.shape[d]) break;
      at -= stride * static_cast<uint64_t>(tensor.shape[d]);
      index[d] = 0;
    }
  }
  return out;
}

class TorchCheckpoint final : public Checkpoint {
 public:
  TorchCheckpoint(Pickled pickled, StorageReader reader)
      : pickled_(std::move(pickled)), reader_(std::move(reader)) {}

  // INVALID_ARGUMENT: the object is no state_dict and holds none.
  absl::Status FindStateDict();

  const std::map<std::string, CheckpointTensor>& tensors() const override {
    return tensors_;
  }
  const std::vector<std::string>& others() const override { return others_; }
  absl::StatusOr<Bytes> Read(const std::string& name) override {
    const PickledTensor& tensor = pickled_.tensors[indices_.at(name)];
    // Tensors that share a storage tend to follow each other.
    if (cached_key_ != tensor.storage.key || cached_.empty()) {
      if (StorageBytes(tensor.storage) > kStorageBytesMax) {
        return absl::ResourceExhaustedError(absl::StrCat(
            name, ": expected a storage of at most ", kStorageBytesMax,
            " bytes, found ", StorageBytes(tensor.storage)));
      }
      absl::StatusOr<Bytes> bytes = reader_(tensor.storage);
      if (!bytes.ok()) return Annotate(bytes.status(), name);
      cached_ = *std::move(bytes);
      cached_key_ = tensor.storage.key;
    }
    if (cached_.size() < StorageBytes(tensor.storage)) {
      return absl::DataLossError(absl::StrCat(
          name, ": storage ", absl::CHexEscape(tensor.storage.key), " has ",
          cached_.size(), " bytes, expected ", StorageBytes(tensor.storage)));
    }
    return Gather(tensor, cached_);
  }

 private:
  // The value of a text key; null if absent or `dict` is no dict.
  const PickleNode* Find(const PickleNode& dict, std::string_view key) const {
    if (dict.kind != PickleKind::kDict) return nullptr;
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleNode& candidate = pickled_.nodes[dict.items[i]];
      if (candidate.kind == PickleKind::kText && candidate.text == key) {
        return &pickled_.nodes[dict.items[i + 1]];
      }
    }
    return nullptr;
  }
  void Collect(const PickleNode& dict);

  const Pickled pickled_;
  const StorageReader reader_;
  std::map<std::string, CheckpointTensor> tensors_;
  std::map<std::string, size_t> indices_;  // into pickled_.tensors
  std::vector<std::string> others_;
  std::string cached_key_;
  Bytes cached_;
};

void TorchCheckpoint::Collect(const PickleNode& dict) {
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleNode& key = pickled_.nodes[dict.items[i]];
    const PickleNode& value = pickled_.nodes[dict.items[i + 1]];
    const std::string name =
        key.kind == PickleKind::kText
            ? key.text
            : absl::StrCat("a key of type ", PickleKindName(key.kind));
    if (key.kind != PickleKind::kText || value.kind != PickleKind::kTensor) {
      others_.push_back(absl::StrCat(absl::CHexEscape(name), " (",
                                     PickleKindName(value.kind), ")"));
      continue;
    }
    const auto index = static_cast<size_t>(value.number);
    const PickledTensor& tensor = pickled_.tensors[index];
    tensors_[name] = {tensor.storage.type, tensor.shape};
    indices_[name] = index;
  }
}

absl::Status TorchCheckpoint::FindStateDict() {
  const PickleNode& root = pickled_.nodes[pickled_.root];
  if (root.kind != PickleKind::kDict) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a state_dict, found a ",
                     PickleKindName(root.kind), " instead of a dict"));
  }
  Collect(root);
  if (!tensors_.empty()) return absl::OkStatus();
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    const PickleNode* inner = Find(root, key);
    if (inner == nullptr || inner->kind != PickleKind::kDict) continue;
    others_.clear();
    Collect(*inner);
    if (!tensors_.empty()) return absl::OkStatus();
  }
  constexpr size_t kShown = 10;
  others_.resize(std::min(others_.size(), kShown));
  return absl::InvalidArgumentError(
      absl::StrCat("expected a state_dict, alone or under the key state_dict, "
                   "model_state_dict or model; found a dict of ",
                   others_.empty() ? "nothing" : absl::StrJoin(others_, ", ")));
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Make(Pickled pickled,
                                                 StorageReader reader) {
  auto checkpoint =
      std::make_unique<TorchCheckpoint>(std::move(pickled), std::move(reader));
  FG_RETURN_IF_ERROR(checkpoint->FindStateDict());
  return checkpoint;
}

absl::StatusOr<Bytes> ReadMember(const ZipArchive& archive,
                                 const std::string& name, uint64_t size_max) {
  FG_ASSIGN_OR_RETURN(ZipMember member, archive.OpenMember(name));
  if (member.size_bytes() > size_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat(name, ": expected at most ", size_max, " bytes, found ",
                     member.size_bytes()));
  }
  Bytes bytes(static_cast<size_t>(member.size_bytes()));
  FG_RETURN_IF_ERROR(member.Read(absl::MakeSpan(bytes)));
  FG_RETURN_IF_ERROR(member.Finish());
  return bytes;
}

// "name/" of name/data.pkl.
absl::StatusOr<std::string> FindFolder(const ZipArchive& archive) {
  constexpr std::string_view kPickle = "/data.pkl";
  std::optional<std::string> folder;
  for (const std::string& name : archive.Names()) {
    if (absl::EndsWith(name, "/constants.pkl")) {
      return absl::InvalidArgumentError(
          "found a TorchScript archive, which is a program; in Python, save "
          "with torch.save(model.state_dict(), FILE)");
    }
    if (!name.ends_with(kPickle)) continue;
    if (folder) return absl::InvalidArgumentError("found two data.pkl");
    folder = name.substr(0, name.size() - kPickle.size() + 1);
  }
  if (!folder) {
    return absl::InvalidArgumentError(
        "expected an archive of torch.save, found a zip file without data.pkl");
  }
  return *folder;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenTorchArchive(
    const std::string& path) {
  FG_ASSIGN_OR_RETURN(ZipArchive opened, ZipArchive::Open(path, kMembersMax));
  const auto archive = std::make_shared<const ZipArchive>(std::move(opened));
  FG_ASSIGN_OR_RETURN(const std::string folder, FindFolder(*archive));
  if (archive->Contains(folder + "byteorder")) {
    FG_ASSIGN_OR_RETURN(const Bytes order,
                        ReadMember(*archive, folder + "byteorder", 64));
    if (AsText(order) != "little") {
      return absl::InvalidArgumentError("expected little-endian numbers");
    }
  }
  FG_ASSIGN_OR_RETURN(
      const Bytes pickle,
      ReadMember(*archive, folder + "data.pkl", kPickleBytesMax));
  FG_ASSIGN_OR_RETURN(Pickled pickled, ReadPickle(pickle));
  return Make(
      std::move(pickled), [archive, folder](const PickledStorage& storage) {
        return ReadMember(*archive, absl::StrCat(folder, "data/", storage.key),
                          kStorageBytesMax);
      });
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenLegacyTorchFile(
    const std::string& path) {
  FG_ASSIGN_OR_RETURN(Bytes content, ReadDataFile(path, kStorageBytesMax));
  const auto file = std::make_shared<const Bytes>(std::move(content));
  ByteSpan rest(*file);
  if (!AsText(rest).starts_with(kLegacyTorchStart)) {
    return absl::InvalidArgumentError("expected a file of torch.save");
  }
  rest.remove_prefix(kLegacyTorchStart.size());
  Pickled parts[4];  // version, machine, object, keys
  for (Pickled& part : parts) {
    FG_ASSIGN_OR_RETURN(part, ReadPickle(rest));
    rest.remove_prefix(part.size_bytes);
  }
  std::map<std::string, size_t> width_of;
  for (const PickledStorage& storage : parts[2].storages) {
    width_of[storage.key] = ElementBytes(storage.type);
  }
  std::map<std::string, ByteSpan> data_of;
  const PickleNode& keys = parts[3].nodes[parts[3].root];
  for (const PickleRef ref : keys.items) {
    const std::string& key = parts[3].nodes[ref].text;
    const auto width = width_of.find(key);
    uint64_t count = 0;
    bool is_whole = width != width_of.end() && rest.size() >= sizeof(count);
    if (is_whole) {
      std::memcpy(&count, rest.data(), sizeof(count));
      rest.remove_prefix(sizeof(count));
      is_whole = count <= rest.size() / width->second;
    }
    if (!is_whole) {
      return absl::DataLossError(
          absl::StrCat("storage ", absl::CHexEscape(key),
                       " is not there as a whole: the file is truncated"));
    }
    data_of[key] = rest.first(static_cast<size_t>(count) * width->second);
    rest.remove_prefix(data_of[key].size());
  }
  return Make(
      std::move(parts[2]),
      [file, data_of](const PickledStorage& storage) -> absl::StatusOr<Bytes> {
        const auto found = data_of.find(storage.key);
        if (found == data_of.end()) {
          return absl::DataLossError(absl::StrCat(
              "there is no storage ", absl::CHexEscape(storage.key)));
        }
        return ToBytes(found->second);
      });
}

}  // namespace fedgraft
