#include "aggregator/web/run_archive.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr const char* kIndex = "reports/index.json";

std::string PathOf(const std::string& run) {
  return absl::StrCat("reports/", run, ".json");
}

absl::StatusOr<std::string> ReadText(FileStore& files,
                                     const std::string& path) {
  FG_ASSIGN_OR_RETURN(const Bytes bytes, ReadAll(files, path));
  return std::string(AsText(bytes));
}

Json ToJson(const RunArchive::Entry& entry) {
  Json json = {{"run", entry.line.run},
               {"plan", entry.line.plan},
               {"state", entry.line.state},
               {"rounds_complete", entry.line.rounds_complete},
               {"rounds", entry.line.rounds},
               {"sites", entry.line.sites},
               {"alarms", entry.line.alarms},
               {"started_unix_ms", absl::ToUnixMillis(entry.line.started)},
               {"kept_unix_ms", absl::ToUnixMillis(entry.kept)}};
  if (std::isfinite(entry.line.auc)) json["auc"] = entry.line.auc;
  return json;
}

RunArchive::Entry FromJson(const Json& json) {
  RunArchive::Entry entry;
  entry.line.run = TextAt(json, "run");
  entry.line.plan = TextAt(json, "plan");
  entry.line.state = TextAt(json, "state");
  entry.line.rounds_complete = WholeAt(json, "rounds_complete");
  entry.line.rounds = WholeAt(json, "rounds");
  entry.line.sites = WholeAt(json, "sites");
  entry.line.alarms = WholeAt(json, "alarms");
  entry.line.auc = NumberAt(json, "auc");
  entry.line.started = absl::FromUnixMillis(
      static_cast<int64_t>(WholeAt(json, "started_unix_ms")));
  entry.kept =
      absl::FromUnixMillis(static_cast<int64_t>(WholeAt(json, "kept_unix_ms")));
  return entry;
}

bool IsFileName(const std::string& run) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !run.empty() && run.size() <= 64 && run != "index" &&
         std::all_of(run.begin(), run.end(), plain);
}

}  // namespace

RunArchive::RunArchive(FileStore& files) : files_(files) {
  const absl::StatusOr<std::string> text = ReadText(files_, kIndex);
  if (!text.ok()) return;  // none yet
  const Json index = Json::parse(*text, /*cb=*/nullptr,
                                 /*allow_exceptions=*/false);
  if (!index.is_array()) {
    FG_LOG_WARNING("{} is damaged: earlier runs are not listed", kIndex);
    return;
  }
  absl::MutexLock lock(&mutex_);
  for (const Json& item : index) {
    Entry entry = FromJson(item);
    if (!IsFileName(entry.line.run)) continue;
    std::string run = entry.line.run;
    entries_.emplace(std::move(run), std::move(entry));
  }
}

bool RunArchive::Has(const std::string& run) const {
  absl::MutexLock lock(&mutex_);
  return entries_.contains(run);
}

absl::Status RunArchive::Keep(const std::string& report, absl::Time now) {
  const Json json = Json::parse(report, /*cb=*/nullptr,
                                /*allow_exceptions=*/false);
  Entry entry = {SummarizeRun(json), now};
  const std::string run = entry.line.run;
  if (!IsFileName(run)) {
    return absl::InvalidArgumentError(
        absl::StrCat("found a report of run \"", run,
                     "\"; expected an id of a-z, 0-9, '-' and '_'"));
  }
  absl::MutexLock lock(&mutex_);
  if (entries_.contains(run)) return absl::OkStatus();
  FG_RETURN_IF_ERROR(WriteAtomically(files_, PathOf(run), AsBytes(report)));
  entries_.emplace(run, std::move(entry));
  std::string removed;
  if (entries_.size() > kRunsMax) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                         [](const auto& a, const auto& b) {
                                           return a.second.kept < b.second.kept;
                                         });
    removed = oldest->first;
    entries_.erase(oldest);
  }
  FG_RETURN_IF_ERROR(WriteIndex());
  return removed.empty() ? absl::OkStatus() : files_.Remove(PathOf(removed));
}

absl::Status RunArchive::WriteIndex() {
  Json index = Json::array();
  for (const auto& [run, entry] : entries_) index.push_back(ToJson(entry));
  return WriteAtomically(files_, kIndex,
                         AsBytes(index.dump(1, ' ', /*ensure_ascii=*/false,
                                            Json::error_handler_t::replace)));
}

std::vector<RunArchive::Entry> RunArchive::All() const {
  std::vector<Entry> all;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [run, entry] : entries_) all.push_back(entry);
  }
  std::stable_sort(all.begin(), all.end(), [](const Entry& a, const Entry& b) {
    return a.line.started > b.line.started;
  });
  return all;
}

absl::StatusOr<std::string> RunArchive::Read(const std::string& run) const {
  if (!Has(run)) {
    return absl::NotFoundError(absl::StrCat("no run \"", run, "\" is kept"));
  }
  return ReadText(files_, PathOf(run));
}

}  // namespace fedgraft
