#include "common/audit/audit_log.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

// No line of ours is longer.
constexpr size_t kLineBytesMax = 16384;

absl::Status BadLine(uint64_t index, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("audit log, line ", index, ": ",
                   absl::string_view(what.data(), what.size())));
}

// `line` without its newline, after `head`.
absl::StatusOr<AuditHead> Follow(const AuditHead& head, std::string_view line) {
  const uint64_t index = head.lines + 1;
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object()) return BadLine(index, "is not a JSON object");
  const auto number = json.find("index");
  if (number == json.end() || !number->is_number_unsigned() ||
      number->get<uint64_t>() != index) {
    return BadLine(index, "has another index: lines were removed or added");
  }
  const auto previous = json.find("previous");
  if (previous == json.end() || !previous->is_string() ||
      previous->get<std::string>() != head.hash.Hex()) {
    return BadLine(index,
                   "does not continue the line before it: one of the two was "
                   "changed");
  }
  return AuditHead{index, Sha256(AsBytes(line))};
}

struct Scanned {
  AuditHead head;  // after the valid lines
  uint64_t valid_bytes = 0;
  absl::Status rest;  // what is wrong with the bytes after them, if any
};

Scanned Scan(std::string_view text) {
  Scanned scanned;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) {
      scanned.rest = BadLine(scanned.head.lines + 1,
                             "is cut: what a crash left, or an edit");
      break;
    }
    const auto head = Follow(scanned.head, text.substr(begin, end - begin));
    if (!head.ok()) {
      scanned.rest = head.status();
      break;
    }
    scanned.head = *head;
    begin = end + 1;
    scanned.valid_bytes = begin;
  }
  return scanned;
}

// Whether `tail` can be what a power failure left of one unacknowledged line: a
// piece of it, maybe with garbage, but never a whole line with its newline.
bool IsTornWrite(std::string_view tail) {
  if (tail.size() > kLineBytesMax) return false;
  size_t begin = 0;
  for (size_t end = tail.find('\n'); end != std::string_view::npos;
       end = tail.find('\n', begin)) {
    if (nlohmann::json::parse(tail.substr(begin, end - begin), nullptr, false)
            .is_object()) {
      return false;
    }
    begin = end + 1;
  }
  return true;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(FileStore& files,
                                                         std::string path,
                                                         absl::Time now) {
  Bytes content;
  absl::StatusOr<Bytes> existing = ReadAll(files, path);
  if (existing.ok()) {
    content = *std::move(existing);
  } else if (!absl::IsNotFound(existing.status())) {
    return existing.status();
  }
  const std::string_view text = AsText(content);
  const Scanned scanned = Scan(text);
  const std::string_view tail = text.substr(scanned.valid_bytes);
  if (!scanned.rest.ok() && !IsTornWrite(tail)) {
    return Annotate(scanned.rest, path);
  }
  FG_ASSIGN_OR_RETURN(auto file, files.OpenAppend(path, scanned.valid_bytes));
  const size_t slash = path.rfind('/');
  FG_RETURN_IF_ERROR(files.SyncFolder(
      slash == std::string::npos ? "" : path.substr(0, slash)));
  auto log =
      std::unique_ptr<AuditLog>(new AuditLog(std::move(file), scanned.head));
  if (!tail.empty()) {
    // Evidence of the removal, in case it was an edit after all.
    FG_RETURN_IF_ERROR(log->Append(now, "torn_tail_removed",
                                   {{"bytes", std::to_string(tail.size())},
                                    {"sha256", Sha256(AsBytes(tail)).Hex()}}));
  }
  return log;
}

absl::Status AuditLog::Append(
    absl::Time time, std::string_view event,
    const std::map<std::string, std::string>& fields) {
  FG_RETURN_IF_ERROR(failure_);
  nlohmann::ordered_json json;
  json["index"] = head_.lines + 1;
  json["time"] =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
  json["event"] = std::string(event);
  for (const auto& [name, value] : fields) {
    FG_CHECK(!json.contains(name) && name != "previous");
    json[name] = value;
  }
  json["previous"] = head_.hash.Hex();
  std::string line =
      json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  const AuditHead head = {head_.lines + 1, Sha256(AsBytes(line))};
  line.push_back('\n');
  failure_ = file_->Append(AsBytes(line));
  if (failure_.ok()) failure_ = file_->Sync();
  FG_RETURN_IF_ERROR(failure_);
  head_ = head;
  return absl::OkStatus();
}

absl::StatusOr<AuditHead> VerifyAuditLog(std::string_view text) {
  const Scanned scanned = Scan(text);
  FG_RETURN_IF_ERROR(scanned.rest);
  return scanned.head;
}

}  // namespace fedgraft
