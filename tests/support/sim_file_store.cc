#include "tests/support/sim_file_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace fedgraft::testing {
namespace {

std::string FolderOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(slash == path.npos ? "" : path.substr(0, slash));
}

absl::Status Unavailable(std::string_view what) {
  return absl::UnavailableError(absl::StrCat("simulated: ", std::string(what)));
}

}  // namespace

struct SimFileStore::File {
  Bytes data;
  // data[0, synced) is durable, but for what was written over and not synced:
  // of that, `overwritten` are the durable bytes, from the file's first.
  uint64_t synced = 0;
  Bytes overwritten;
  // Durable bytes behind data[0, synced) that a truncation, not synced yet,
  // has cut off.
  Bytes cut;

  void Write(uint64_t offset, ByteSpan bytes) {
    const uint64_t end = offset + bytes.size();
    for (uint64_t i = overwritten.size(); i < std::min(end, synced); ++i) {
      if (i >= offset) overwritten.push_back(data[i]);
    }
    data.resize(std::max<uint64_t>(data.size(), end));
    std::copy(bytes.begin(), bytes.end(),
              data.begin() + static_cast<ptrdiff_t>(offset));
  }

  void Cut(uint64_t size) {
    if (size >= data.size()) return;
    if (synced > size) {
      Bytes durable(data.begin(),
                    data.begin() + static_cast<ptrdiff_t>(synced));
      std::copy(overwritten.begin(), overwritten.end(), durable.begin());
      cut.insert(cut.begin(), durable.begin() + static_cast<ptrdiff_t>(size),
                 durable.end());
      synced = size;
    }
    overwritten.resize(std::min<uint64_t>(overwritten.size(), size));
    data.resize(size);
  }

  void Sync() {
    synced = data.size();
    overwritten.clear();
    cut.clear();
  }
};

// A creation (from empty), a removal (to empty) or a rename.
struct SimFileStore::NameChange {
  std::string from, to;
  FilePtr file;  // creation

  std::set<std::string> Folders() const {
    std::set<std::string> folders;
    if (!from.empty()) folders.insert(FolderOf(from));
    if (!to.empty()) folders.insert(FolderOf(to));
    return folders;
  }
};

class SimFileStore::Writer : public WritableFile {
 public:
  // Appends, or writes over what is there.
  Writer(SimFileStore* store, FilePtr file, uint64_t boot, bool over)
      : store_(*store),
        file_(std::move(file)),
        boot_(boot),
        offset_(over ? 0 : file_->data.size()) {}

  absl::Status Append(ByteSpan data) override {
    std::lock_guard lock(store_.mutex_);
    bool last = false;
    FG_RETURN_IF_ERROR(Begin(&last));
    const uint64_t end = offset_ + data.size();
    const bool full = end - std::min<uint64_t>(end, file_->data.size()) >
                      store_.capacity_bytes_ -
                          std::min(store_.capacity_bytes_, store_.UsedBytes());
    const bool fails = store_.failing_appends_ > 0;
    if (full || fails || last) {
      if (fails) --store_.failing_appends_;
      file_->Write(offset_, data.subspan(0, data.size() / 2));
      failed_ = last ? Unavailable("the machine stands still")
                     : absl::ResourceExhaustedError("simulated: disk full");
      return failed_;
    }
    file_->Write(offset_, data);
    offset_ = end;
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    std::lock_guard lock(store_.mutex_);
    bool last = false;
    FG_RETURN_IF_ERROR(Begin(&last));
    ++store_.syncs_;
    if (last) return failed_ = Unavailable("the machine stands still");
    if (store_.failing_syncs_ > 0) {
      --store_.failing_syncs_;
      return failed_ = Unavailable("sync failed");
    }
    file_->Sync();
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return offset_; }

 private:
  absl::Status Begin(bool* last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(store_.mutex_) {
    FG_RETURN_IF_ERROR(failed_);
    if (boot_ != store_.boot_) return Unavailable("the process has ended");
    return store_.BeginChange(last);
  }

  SimFileStore& store_;
  const FilePtr file_;
  const uint64_t boot_;
  uint64_t offset_;
  absl::Status failed_;
};

class SimFileStore::Reader : public ReadableFile {
 public:
  Reader(const SimFileStore* store, FilePtr file, uint64_t boot)
      : store_(*store),
        file_(std::move(file)),
        boot_(boot),
        size_bytes_(file_->data.size()) {}

  absl::Status ReadAt(uint64_t offset, absl::Span<uint8_t> out) const override {
    std::lock_guard lock(store_.mutex_);
    if (boot_ != store_.boot_) return Unavailable("the process has ended");
    FG_RETURN_IF_ERROR(store_.CheckRunning());
    const uint64_t size = file_->data.size();
    if (offset > size || out.size() > size - offset) {
      return absl::OutOfRangeError(
          absl::StrCat("simulated: the file has ", size, " bytes, ", out.size(),
                       " were wanted from offset ", offset));
    }
    std::copy_n(file_->data.begin() + static_cast<ptrdiff_t>(offset),
                out.size(), out.begin());
    return absl::OkStatus();
  }

  uint64_t size_bytes() const override { return size_bytes_; }

 private:
  const SimFileStore& store_;
  const FilePtr file_;
  const uint64_t boot_;
  const uint64_t size_bytes_;
};

SimFileStore::SimFileStore() = default;
SimFileStore::~SimFileStore() = default;

absl::Status SimFileStore::CheckRunning() const {
  return halted_ ? Unavailable("the machine stands still") : absl::OkStatus();
}

absl::Status SimFileStore::BeginChange(bool* last) {
  FG_RETURN_IF_ERROR(CheckRunning());
  ++operations_;
  if (until_halt_ != UINT64_MAX && --until_halt_ == 0) halted_ = true;
  *last = halted_;
  return absl::OkStatus();
}

uint64_t SimFileStore::UsedBytes() const {
  uint64_t used = 0;
  for (const auto& [path, file] : names_) used += file->data.size();
  return used;
}

absl::StatusOr<SimFileStore::FilePtr> SimFileStore::OpenAndCut(
    std::string_view path, uint64_t size_max) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  FG_RETURN_IF_ERROR(CheckRunning());
  FilePtr& file = names_[std::string(path)];
  if (file == nullptr) {
    file = std::make_shared<File>();
    pending_.push_back({"", std::string(path), file});
  }
  file->Cut(size_max);
  return file;
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimFileStore::OpenAppend(
    std::string_view path, uint64_t keep_bytes) {
  std::lock_guard lock(mutex_);
  FG_ASSIGN_OR_RETURN(FilePtr file, OpenAndCut(path, keep_bytes));
  return std::make_unique<Writer>(this, std::move(file), boot_, false);
}

absl::StatusOr<std::unique_ptr<WritableFile>> SimFileStore::OpenOverwrite(
    std::string_view path, uint64_t size_bytes_max) {
  std::lock_guard lock(mutex_);
  FG_ASSIGN_OR_RETURN(FilePtr file, OpenAndCut(path, size_bytes_max));
  return std::make_unique<Writer>(this, std::move(file), boot_, true);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> SimFileStore::OpenRead(
    std::string_view path) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  std::lock_guard lock(mutex_);
  FG_RETURN_IF_ERROR(CheckRunning());
  const auto found = names_.find(path);
  if (found == names_.end()) {
    return absl::NotFoundError(
        absl::StrCat("simulated: there is no file ", std::string(path)));
  }
  return std::make_unique<Reader>(this, found->second, boot_);
}

void SimFileStore::Apply(const NameChange& change, Names& names) {
  FilePtr file = change.file;
  if (!change.from.empty()) {
    const auto found = names.find(change.from);
    if (found == names.end()) return;
    file = found->second;
    names.erase(found);
  }
  if (!change.to.empty()) names[change.to] = file;
}

void SimFileStore::MakeNamesDurable(std::set<std::string> folders) {
  // A change needs the earlier ones of its folders, which may touch more.
  std::list<NameChange> durable;
  for (auto change = pending_.end(); change != pending_.begin();) {
    --change;
    const std::set<std::string> touched = change->Folders();
    const bool wanted = std::any_of(
        touched.begin(), touched.end(),
        [&](const auto& folder) { return folders.contains(folder); });
    if (!wanted) continue;
    folders.insert(touched.begin(), touched.end());
    const auto next = std::next(change);
    durable.splice(durable.begin(), pending_, change);
    change = next;
  }
  for (const NameChange& change : durable) Apply(change, durable_names_);
}

absl::Status SimFileStore::Rename(std::string_view from, std::string_view to) {
  FG_RETURN_IF_ERROR(CheckPath(from));
  FG_RETURN_IF_ERROR(CheckPath(to));
  std::lock_guard lock(mutex_);
  FG_RETURN_IF_ERROR(CheckRunning());
  if (names_.find(from) == names_.end()) {
    return absl::NotFoundError(
        absl::StrCat("simulated: there is no file ", std::string(from)));
  }
  bool last = false;
  FG_RETURN_IF_ERROR(BeginChange(&last));
  const NameChange change{std::string(from), std::string(to), nullptr};
  Apply(change, names_);
  pending_.push_back(change);
  if (last) return Unavailable("the machine stands still");
  MakeNamesDurable(change.Folders());
  return absl::OkStatus();
}

absl::Status SimFileStore::Remove(std::string_view path) {
  FG_RETURN_IF_ERROR(CheckPath(path));
  std::lock_guard lock(mutex_);
  FG_RETURN_IF_ERROR(CheckRunning());
  if (names_.find(path) == names_.end()) {
    return absl::NotFoundError(
        absl::StrCat("simulated: there is no file ", std::string(path)));
  }
  bool last = false;
  FG_RETURN_IF_ERROR(BeginChange(&last));
  const NameChange change{std::string(path), "", nullptr};
  Apply(change, names_);
  pending_.push_back(change);
  return last ? Unavailable("the machine stands still") : absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SimFileStore::List(
    std::string_view folder) {
  FG_RETURN_IF_ERROR(CheckFolder(folder));
  std::lock_guard lock(mutex_);
  FG_RETURN_IF_ERROR(CheckRunning());
  std::vector<std::string> names;
  for (const auto& [path, file] : names_) {
    if (FolderOf(path) != folder) continue;
    names.push_back(folder.empty() ? path : path.substr(folder.size() + 1));
  }
  return names;
}

absl::Status SimFileStore::SyncFolder(std::string_view folder) {
  FG_RETURN_IF_ERROR(CheckFolder(folder));
  std::lock_guard lock(mutex_);
  bool last = false;
  FG_RETURN_IF_ERROR(BeginChange(&last));
  if (last) return Unavailable("the machine stands still");
  MakeNamesDurable({std::string(folder)});
  return absl::OkStatus();
}

void SimFileStore::KillProcess() {
  std::lock_guard lock(mutex_);
  ++boot_;
  halted_ = false;
  until_halt_ = UINT64_MAX;
}

void SimFileStore::CrashFile(File& file, SimRandom& random) {
  if (!file.cut.empty() && random.Chance(0.5)) {
    // The truncation had not reached the disk.
    file.data.resize(file.synced);
    file.data.insert(file.data.end(), file.cut.begin(), file.cut.end());
  } else if (const uint64_t unsynced = file.data.size() - file.synced;
             unsynced > 0) {
    const uint64_t kept = random.Below(unsynced + 1);
    file.data.resize(file.synced + kept);
    if (kept > 0 && random.Chance(0.5)) {
      const uint64_t begin = file.synced + random.Below(kept);
      const uint64_t size = 1 + random.Below(file.data.size() - begin);
      const auto torn = absl::MakeSpan(file.data).subspan(begin, size);
      if (random.Chance(0.5)) {
        std::fill(torn.begin(), torn.end(), uint8_t{0});
      } else {
        random.Fill(torn);
      }
    }
  }
  if (const uint64_t written = file.overwritten.size(); written > 0) {
    const uint64_t begin = random.Below(written);
    const uint64_t size = random.Below(written - begin + 1);
    std::copy_n(file.overwritten.begin() + static_cast<ptrdiff_t>(begin), size,
                file.data.begin() + static_cast<ptrdiff_t>(begin));
  }
  file.Sync();
}

void SimFileStore::Crash(uint64_t seed) {
  SimRandom random(seed);
  std::lock_guard lock(mutex_);
  ++boot_;
  halted_ = false;
  until_halt_ = UINT64_MAX;
  capacity_bytes_ = UINT64_MAX;
  failing_appends_ = failing_syncs_ = 0;
  for (uint64_t kept = random.Below(pending_.size() + 1); kept > 0; --kept) {
    Apply(pending_.front(), durable_names_);
    pending_.pop_front();
  }
  pending_.clear();
  names_ = durable_names_;
  for (auto& [path, file] : names_) CrashFile(*file, random);
}

void SimFileStore::FailAppends(int count) {
  std::lock_guard lock(mutex_);
  failing_appends_ = count;
}

void SimFileStore::FailSyncs(int count) {
  std::lock_guard lock(mutex_);
  failing_syncs_ = count;
}

void SimFileStore::SetCapacity(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  capacity_bytes_ = bytes;
}

void SimFileStore::HaltAfter(uint64_t operations) {
  FG_CHECK(operations > 0);
  std::lock_guard lock(mutex_);
  until_halt_ = operations;
}

Bytes SimFileStore::Content(std::string_view path) const {
  std::lock_guard lock(mutex_);
  const auto found = names_.find(path);
  FG_CHECK(found != names_.end());
  return found->second->data;
}

void SimFileStore::SetContent(std::string_view path, Bytes content) {
  std::lock_guard lock(mutex_);
  FilePtr& file = names_[std::string(path)];
  if (file == nullptr) file = std::make_shared<File>();
  file->data = std::move(content);
  file->Sync();
  durable_names_[std::string(path)] = file;
}

bool SimFileStore::Exists(std::string_view path) const {
  std::lock_guard lock(mutex_);
  return names_.find(path) != names_.end();
}

std::vector<std::string> SimFileStore::AllPaths() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> paths;
  for (const auto& [path, file] : names_) paths.push_back(path);
  return paths;
}

uint64_t SimFileStore::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

uint64_t SimFileStore::syncs() const {
  std::lock_guard lock(mutex_);
  return syncs_;
}

}  // namespace fedgraft::testing
