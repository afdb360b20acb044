#include "aggregator/admin/allow_list.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

constexpr size_t kFileBytesMax = 64 << 20;

absl::Status Malformed(absl::string_view reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("allow-list (sites.json): ", reason));
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

nlohmann::ordered_json ToJson(const AllowListEntry& entry) {
  nlohmann::ordered_json json{{"id", entry.id},
                              {"status", entry.active ? "active" : "revoked"},
                              {"public_key", ToHex(entry.public_key)},
                              {"fingerprint", KeyFingerprint(entry.public_key)},
                              {"serials", entry.serials},
                              {"not_before", TimeText(entry.not_before)},
                              {"not_after", TimeText(entry.not_after)},
                              {"approved", TimeText(entry.approved)}};
  if (!entry.active) json["revoked"] = TimeText(entry.revoked);
  return json;
}

// Reads the members of one entry; remembers the first error.
class EntryReader {
 public:
  explicit EntryReader(const nlohmann::json& json) : json_(json) {
    if (!json.is_object()) Fail("an entry is not an object");
  }

  std::string Text(const char* key) {
    const std::string* text = nullptr;
    if (status_.ok()) {
      const auto at = json_.find(key);
      if (at != json_.end()) text = at->get_ptr<const std::string*>();
      if (text == nullptr) Fail(absl::StrCat("\"", key, "\" is not a text"));
    }
    return text == nullptr ? "" : *text;
  }

  absl::Time Time(const char* key) {
    const std::string text = Text(key);
    absl::Time time;
    std::string error;
    if (status_.ok() &&
        !absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
      Fail(absl::StrCat("\"", key, "\" is not a time: ", error));
    }
    return time;
  }

  std::vector<std::string> Texts(const char* key) {
    std::vector<std::string> texts;
    if (!status_.ok()) return texts;
    const auto at = json_.find(key);
    if (at == json_.end() || !at->is_array()) {
      Fail(absl::StrCat("\"", key, "\" is not a list"));
      return texts;
    }
    for (const auto& item : *at) {
      const auto* text = item.get_ptr<const std::string*>();
      if (text == nullptr) {
        Fail(absl::StrCat("\"", key, "\" holds something but texts"));
        break;
      }
      texts.push_back(*text);
    }
    return texts;
  }

  void Fail(absl::string_view reason) {
    if (status_.ok()) status_ = Malformed(reason);
  }
  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json& json_;
  absl::Status status_;
};

absl::StatusOr<AllowListEntry> ParseEntry(const nlohmann::json& json) {
  EntryReader reader(json);
  AllowListEntry entry;
  entry.id = reader.Text("id");
  const std::string status = reader.Text("status");
  const std::string hex = reader.Text("public_key");
  entry.serials = reader.Texts("serials");
  entry.not_before = reader.Time("not_before");
  entry.not_after = reader.Time("not_after");
  entry.approved = reader.Time("approved");
  entry.active = status == "active";
  entry.revoked = entry.active ? absl::InfinitePast() : reader.Time("revoked");
  FG_RETURN_IF_ERROR(reader.status());
  if (!entry.active && status != "revoked") {
    return Malformed(absl::StrCat("the status of ", entry.id,
                                  " is neither \"active\" nor \"revoked\""));
  }
  if (!CheckName("id", entry.id).ok()) {
    return Malformed(absl::StrCat("bad id \"", entry.id, "\""));
  }
  auto key = FromHex(hex);
  if (!key.ok() || key->size() != 32) {
    return Malformed(absl::StrCat("the public key of ", entry.id,
                                  " is not 64 hexadecimal digits"));
  }
  entry.public_key = *std::move(key);
  return entry;
}

absl::Status ParseEntries(const nlohmann::json& json, const char* key,
                          std::map<std::string, AllowListEntry>& entries) {
  const auto list = json.find(key);
  if (list == json.end() || !list->is_array()) {
    return Malformed(absl::StrCat("\"", key, "\" is not a list"));
  }
  for (const auto& item : *list) {
    FG_ASSIGN_OR_RETURN(AllowListEntry entry, ParseEntry(item));
    const std::string id = entry.id;
    if (!entries.emplace(id, std::move(entry)).second) {
      return Malformed(absl::StrCat(id, " occurs twice in \"", key, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEntry(const std::map<std::string, AllowListEntry>& entries,
                        const std::set<std::string>& revoked_serials,
                        const CertificateInfo& info) {
  const auto refuse = [&info](absl::string_view reason) {
    const std::string_view role = RoleName(info.role);
    return absl::PermissionDeniedError(
        absl::StrCat(absl::string_view(role.data(), role.size()), " ", info.id,
                     " ", reason));
  };
  const auto at = entries.find(info.id);
  if (at == entries.end()) {
    return refuse("is unknown: it is not on the allow-list");
  }
  const AllowListEntry& entry = at->second;
  if (!entry.active) {
    return refuse(absl::StrCat("was revoked on ", TimeText(entry.revoked)));
  }
  if (entry.public_key != info.public_key) {
    return refuse(absl::StrCat(
        "uses another key (", KeyFingerprint(info.public_key),
        ") than the approved one (", KeyFingerprint(entry.public_key), ")"));
  }
  if (revoked_serials.contains(info.serial)) {
    return refuse(absl::StrCat("uses the revoked certificate ", info.serial,
                               "; a newer one was issued"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string AllowListContent::ToJson() const {
  nlohmann::ordered_json json;
  json["version"] = 1;
  json["federation"] = federation;
  json["sites"] = nlohmann::ordered_json::array();
  for (const auto& [id, entry] : sites) {
    json["sites"].push_back(fedgraft::ToJson(entry));
  }
  json["operators"] = nlohmann::ordered_json::array();
  for (const auto& [id, entry] : operators) {
    json["operators"].push_back(fedgraft::ToJson(entry));
  }
  json["revoked_serials"] = revoked_serials;
  return json.dump(2) + "\n";
}

absl::StatusOr<AllowListContent> AllowListContent::FromJson(
    std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return Malformed("not a JSON object");
  const auto version = json.find("version");
  if (version == json.end() || *version != 1) {
    return Malformed("\"version\" is not 1");
  }
  AllowListContent content;
  EntryReader reader(json);
  content.federation = reader.Text("federation");
  for (std::string& serial : reader.Texts("revoked_serials")) {
    content.revoked_serials.insert(std::move(serial));
  }
  FG_RETURN_IF_ERROR(reader.status());
  FG_RETURN_IF_ERROR(CheckName("federation", content.federation));
  FG_RETURN_IF_ERROR(ParseEntries(json, "sites", content.sites));
  FG_RETURN_IF_ERROR(ParseEntries(json, "operators", content.operators));
  return content;
}

Roster AllowListContent::ToRoster() const {
  Roster roster{.federation = federation, .keys = {}};
  for (const auto& [id, entry] : sites) {
    if (entry.active) roster.keys.emplace(SiteId{id}, entry.public_key);
  }
  return roster;
}

absl::StatusOr<std::unique_ptr<AllowList>> AllowList::Load(FileStore& files) {
  std::unique_ptr<AllowList> list(new AllowList(files));
  FG_RETURN_IF_ERROR(list->Reload().status());
  return list;
}

absl::StatusOr<bool> AllowList::Reload() {
  FG_ASSIGN_OR_RETURN(const auto file, files_->OpenRead(kAllowListFile));
  if (file->size_bytes() > kFileBytesMax) {
    return Malformed(
        absl::StrCat(file->size_bytes(), " bytes; at most ", kFileBytesMax));
  }
  Bytes bytes(file->size_bytes());
  FG_RETURN_IF_ERROR(file->ReadAt(0, absl::MakeSpan(bytes)));
  {
    absl::MutexLock lock(&mutex_);
    if (!bytes.empty() && bytes == bytes_) return false;
  }
  FG_ASSIGN_OR_RETURN(AllowListContent content,
                      AllowListContent::FromJson(AsText(bytes)));
  absl::MutexLock lock(&mutex_);
  if (!bytes_.empty() && content.federation != content_.federation) {
    return Malformed(absl::StrCat("federation \"", content.federation,
                                  "\" instead of \"", content_.federation,
                                  "\""));
  }
  bytes_ = std::move(bytes);
  content_ = std::move(content);
  return true;
}

absl::Status AllowList::Check(const CertificateInfo& info) const {
  absl::MutexLock lock(&mutex_);
  FG_RETURN_IF_ERROR(
      CheckRole(info, CertificateRole::kSite, content_.federation));
  return CheckEntry(content_.sites, content_.revoked_serials, info);
}

absl::Status AllowList::CheckOperator(const CertificateInfo& info) const {
  absl::MutexLock lock(&mutex_);
  FG_RETURN_IF_ERROR(
      CheckRole(info, CertificateRole::kOperator, content_.federation));
  return CheckEntry(content_.operators, content_.revoked_serials, info);
}

AllowListContent AllowList::Content() const {
  absl::MutexLock lock(&mutex_);
  return content_;
}

}  // namespace fedgraft
