#include "common/net/roster.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/net/x509.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

constexpr size_t kRosterBytesMax = 4 << 20;
constexpr size_t kRosterSitesMax = 10000;

absl::Status Malformed(absl::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("roster: ", reason));
}

// A string member, or null if it is missing or of another type.
const std::string* Text(const nlohmann::json& object, const char* key) {
  const auto at = object.find(key);
  return at == object.end() ? nullptr : at->get_ptr<const std::string*>();
}

absl::Status AddSite(const nlohmann::json& entry, size_t index,
                     Roster& roster) {
  const std::string* site = nullptr;
  const std::string* hex = nullptr;
  if (entry.is_object()) {
    site = Text(entry, "site");
    hex = Text(entry, "public_key");
  }
  if (site == nullptr || hex == nullptr) {
    return Malformed(absl::StrCat(
        "entry ", index, " lacks the texts \"site\" and \"public_key\""));
  }
  auto id = SiteId::Parse(*site);
  if (!id.ok()) return Malformed(id.status().message());
  auto key = FromHex(*hex);
  if (!key.ok() || key->size() != 32) {
    return Malformed(absl::StrCat("the public key of site ", *site,
                                  " is not 64 hexadecimal digits"));
  }
  // The fingerprint is for readers; one that contradicts the key would make
  // them confirm another key than the one that is pinned.
  const std::string* fingerprint = Text(entry, "fingerprint");
  if (fingerprint != nullptr && *fingerprint != KeyFingerprint(*key)) {
    return Malformed(absl::StrCat("the fingerprint of site ", *site,
                                  " does not belong to its public key"));
  }
  if (!roster.keys.emplace(*std::move(id), *std::move(key)).second) {
    return Malformed(absl::StrCat("site ", *site, " occurs twice"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Roster::ToJson() const {
  nlohmann::ordered_json json;
  json["version"] = 1;
  json["federation"] = federation;
  json["sites"] = nlohmann::ordered_json::array();
  for (const auto& [site, key] : keys) {
    json["sites"].push_back({{"site", site.value},
                             {"public_key", ToHex(key)},
                             {"fingerprint", KeyFingerprint(key)}});
  }
  return json.dump(2) + "\n";
}

absl::StatusOr<Roster> Roster::FromJson(std::string_view text) {
  if (text.size() > kRosterBytesMax) {
    return Malformed(
        absl::StrCat(text.size(), " bytes; at most ", kRosterBytesMax));
  }
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return Malformed("not a JSON object");
  const auto version = json.find("version");
  if (version == json.end() || *version != 1) {
    return Malformed("\"version\" is not 1");
  }
  const std::string* federation = Text(json, "federation");
  if (federation == nullptr) return Malformed("\"federation\" is missing");
  Roster roster{.federation = *federation, .keys = {}};
  FG_RETURN_IF_ERROR(Annotate(CheckName("federation", *federation), "roster"));
  const auto sites = json.find("sites");
  if (sites == json.end() || !sites->is_array()) {
    return Malformed("\"sites\" is not a list");
  }
  if (sites->size() > kRosterSitesMax) {
    return Malformed(
        absl::StrCat(sites->size(), " sites; at most ", kRosterSitesMax));
  }
  for (size_t i = 0; i < sites->size(); ++i) {
    FG_RETURN_IF_ERROR(AddSite((*sites)[i], i, roster));
  }
  return roster;
}

Digest Roster::Hash() const {
  ByteWriter writer;
  writer.Sized("fedgraft roster v1").Sized(federation).U64(keys.size());
  for (const auto& [site, key] : keys) writer.Sized(site.value).Sized(key);
  return Sha256(writer.bytes());
}

std::string RosterChange::ToText() const {
  switch (kind) {
    case Kind::kAdded:
      return absl::StrCat("+ ", site.value, " added, key ",
                          KeyFingerprint(new_key));
    case Kind::kRemoved:
      return absl::StrCat("- ", site.value, " removed, key was ",
                          KeyFingerprint(old_key));
    case Kind::kKeyChanged:
      return absl::StrCat("! ", site.value, " KEY CHANGED from ",
                          KeyFingerprint(old_key), " to ",
                          KeyFingerprint(new_key));
  }
  return "";
}

std::vector<RosterChange> CompareRosters(const Roster& before,
                                         const Roster& after) {
  using Kind = RosterChange::Kind;
  std::vector<RosterChange> changes;
  for (const auto& [site, key] : before.keys) {
    const auto now = after.keys.find(site);
    if (now == after.keys.end()) {
      changes.push_back({Kind::kRemoved, site, key, {}});
    } else if (now->second != key) {
      changes.push_back({Kind::kKeyChanged, site, key, now->second});
    }
  }
  for (const auto& [site, key] : after.keys) {
    if (!before.keys.contains(site)) {
      changes.push_back({Kind::kAdded, site, {}, key});
    }
  }
  std::sort(changes.begin(), changes.end(),
            [](const RosterChange& a, const RosterChange& b) {
              return a.site < b.site;
            });
  return changes;
}

absl::StatusOr<PinnedRoster> PinnedRoster::Load(FileStore& files,
                                                std::string path) {
  PinnedRoster pinned(files, std::move(path));
  const auto content = ReadAll(files, pinned.path_);
  if (absl::IsNotFound(content.status())) return pinned;
  if (!content.ok()) return content.status();
  auto roster = Roster::FromJson(AsText(*content));
  if (!roster.ok()) return Annotate(roster.status(), pinned.path_);
  pinned.roster_ = *std::move(roster);
  pinned.pinned_ = true;
  return pinned;
}

absl::Status PinnedRoster::Check(const Roster& received) const {
  if (pinned_ && received == roster_) return absl::OkStatus();
  if (pinned_ && received.federation != roster_.federation) {
    return absl::PermissionDeniedError(absl::StrCat(
        "the roster received is of federation \"", received.federation,
        "\"; pinned is \"", roster_.federation, "\""));
  }
  const std::vector<RosterChange> changes = CompareRosters(roster_, received);
  return absl::FailedPreconditionError(absl::StrCat(
      pinned_ ? "the roster received differs from the pinned one"
              : "no roster is pinned at this site yet",
      "; confirm the fingerprints with each site (by telephone, say), then "
      "accept roster ",
      received.Hash().Short(), ":\n",
      absl::StrJoin(changes, "\n",
                    [](std::string* out, const RosterChange& change) {
                      absl::StrAppend(out, "  ", change.ToText());
                    })));
}

absl::Status PinnedRoster::Accept(const Roster& received,
                                  const Digest& confirmed) {
  if (pinned_ && received.federation != roster_.federation) {
    return Check(received);
  }
  if (received.Hash() != confirmed) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the roster to accept is ", received.Hash().Short(),
        " but the one that was shown and confirmed is ", confirmed.Short()));
  }
  FG_RETURN_IF_ERROR(
      WriteAtomically(*files_, path_, AsBytes(received.ToJson())));
  roster_ = received;
  pinned_ = true;
  return absl::OkStatus();
}

}  // namespace fedgraft
