#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/net/roster.h"
#include "common/net/x509.h"
#include "common/runtime/file_store.h"

namespace fedgraft {

// The file of the allow-list in the PKI folder.
inline constexpr std::string_view kAllowListFile = "sites.json";

// One approved site, or one operator.
struct AllowListEntry {
  std::string id;
  Bytes public_key;  // Ed25519, 32 bytes
  bool active = true;
  // Every certificate issued for it, newest last.
  std::vector<std::string> serials;
  absl::Time not_before;  // of the newest certificate
  absl::Time not_after;
  absl::Time approved;
  absl::Time revoked;  // absl::InfinitePast() while active

  bool operator==(const AllowListEntry&) const = default;
};

// The content of sites.json. A value.
struct AllowListContent {
  std::string federation;
  std::map<std::string, AllowListEntry> sites;
  std::map<std::string, AllowListEntry> operators;
  // Certificates refused even though their owner is active.
  std::set<std::string> revoked_serials;

  bool operator==(const AllowListContent&) const = default;

  std::string ToJson() const;
  // INVALID_ARGUMENT with the place of the first error.
  static absl::StatusOr<AllowListContent> FromJson(std::string_view json);
  // The active sites.
  Roster ToRoster() const;
};

// Who may take part now. TLS has verified a certificate against the CA before
// this is asked; it is asked for every call and, on streams, again while they
// run. Thread-safe. `files` outlives it.
class AllowList {
 public:
  // Loads sites.json. INVALID_ARGUMENT if damaged, NOT_FOUND if missing.
  static absl::StatusOr<std::unique_ptr<AllowList>> Load(FileStore& files);
  AllowList(const AllowList&) = delete;
  AllowList& operator=(const AllowList&) = delete;

  // Reads the file again and takes it over if its bytes changed (returns true).
  // After an error the list in force stays. Cheap enough for once a second.
  absl::StatusOr<bool> Reload();

  // A site's certificate. PERMISSION_DENIED with the reason: another role or
  // federation, unknown, revoked, or another key than the approved one.
  absl::Status Check(const CertificateInfo& info) const;
  // The same for an operator's.
  absl::Status CheckOperator(const CertificateInfo& info) const;

  // A copy of the list in force.
  AllowListContent Content() const;

 private:
  explicit AllowList(FileStore& files) : files_(&files) {}

  FileStore* const files_;
  mutable absl::Mutex mutex_;
  Bytes bytes_ ABSL_GUARDED_BY(mutex_);  // of the file in force
  AllowListContent content_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedgraft
