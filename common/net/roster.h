#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The sites of a federation and their Ed25519 keys. A value.
struct Roster {
  std::string federation;
  std::map<SiteId, Bytes> keys;  // 32 bytes each

  bool operator==(const Roster&) const = default;

  // {"version": 1, "federation": …, "sites": [{"site", "public_key" (hex),
  // "fingerprint"}]}, sorted by site.
  std::string ToJson() const;
  // INVALID_ARGUMENT with the place of the first error; limits: 4 MiB,
  // 10,000 sites.
  static absl::StatusOr<Roster> FromJson(std::string_view json);
  // Names a roster: over a canonical encoding, not over the JSON text.
  Digest Hash() const;
};

struct RosterChange {
  enum class Kind { kAdded, kRemoved, kKeyChanged };
  Kind kind = Kind::kAdded;
  SiteId site;
  Bytes old_key;  // empty if added
  Bytes new_key;  // empty if removed

  // One line with the fingerprints to confirm out of band.
  std::string ToText() const;
};

// In the order of sites.
std::vector<RosterChange> CompareRosters(const Roster& before,
                                         const Roster& after);

// The roster that people at a site have confirmed, kept in a file there. The
// aggregator runs the CA and could invent sites; secure aggregation therefore
// counts only sites pinned here. Nothing but Accept changes it.
// Not thread-safe. `files` outlives it.
class PinnedRoster {
 public:
  // A missing file is an empty, unpinned roster. INVALID_ARGUMENT if the file
  // is damaged.
  static absl::StatusOr<PinnedRoster> Load(FileStore& files, std::string path);

  bool pinned() const { return pinned_; }
  const Roster& roster() const { return roster_; }

  // OK if `received` equals the pinned roster. FAILED_PRECONDITION otherwise,
  // listing every change and how to accept it.
  absl::Status Check(const Roster& received) const;

  // Pins `received`, durably. `confirmed` is Hash() of what was shown to the
  // person who accepts: another one is FAILED_PRECONDITION, and a roster of
  // another federation than the pinned one is PERMISSION_DENIED.
  absl::Status Accept(const Roster& received, const Digest& confirmed);

 private:
  PinnedRoster(FileStore& files, std::string path)
      : files_(&files), path_(std::move(path)) {}

  FileStore* files_;
  std::string path_;
  bool pinned_ = false;
  Roster roster_;
};

}  // namespace fedgraft
