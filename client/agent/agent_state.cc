#include "client/agent/agent_state.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace fedgraft {
namespace {

constexpr size_t kRunNameMax = 64;
constexpr char kLastRunPath[] = "last_run";

absl::Status Damaged(const std::string& path) {
  return absl::DataLossError(
      absl::StrCat(path, " is not the marker of a finished run"));
}

}  // namespace

absl::StatusOr<RunFiles> RunFiles::Create(const RunId& run) {
  const std::string& name = run.value;
  const bool valid =
      !name.empty() && name.size() <= kRunNameMax &&
      absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
      });
  if (!valid) {
    return absl::InvalidArgumentError(absl::StrCat(
        "run id must be 1 to ", kRunNameMax,
        " letters, digits, '-', '_' or '.', starting with a letter or digit; "
        "the aggregator sent ",
        name.size(), " characters that are not"));
  }
  return RunFiles(absl::StrCat(kRunsFolder, name, "/"));
}

std::string RunFiles::UpdatePath(TaskKind kind) const {
  return absl::StrCat(folder_, "update-", TaskKindName(kind), ".sealed");
}

std::string BackbonePath(const Digest& digest) {
  return absl::StrCat(kBackbonesFolder, digest.Hex(), ".safetensors");
}

absl::Status WriteLastRun(FileStore& files, const RunId& run) {
  return WriteAtomically(files, kLastRunPath, AsBytes(run.value));
}

std::optional<RunId> ReadLastRun(FileStore& files) {
  const auto content = ReadAll(files, kLastRunPath);
  if (!content.ok()) return std::nullopt;
  RunId run{std::string(AsText(*content))};
  if (!RunFiles::Create(run).ok()) return std::nullopt;
  return run;
}

absl::Status WriteFinishedRun(FileStore& files, const FinishedRun& finished) {
  FG_ASSIGN_OR_RETURN(const RunFiles paths, RunFiles::Create(finished.run));
  const nlohmann::json json = {{"run", finished.run.value},
                               {"model_sha256", finished.model.Hex()},
                               {"rounds", finished.rounds},
                               {"stopped", finished.stopped}};
  const std::string text = json.dump(2) + "\n";
  return WriteAtomically(files, paths.FinishedPath(), AsBytes(text));
}

absl::StatusOr<FinishedRun> ReadFinishedRun(FileStore& files,
                                            const RunId& run) {
  FG_ASSIGN_OR_RETURN(const RunFiles paths, RunFiles::Create(run));
  const std::string path = paths.FinishedPath();
  FG_ASSIGN_OR_RETURN(const Bytes content, ReadAll(files, path));
  const nlohmann::json json =
      nlohmann::json::parse(content.begin(), content.end(), nullptr,
                            /*allow_exceptions=*/false);
  const auto has = [&](const char* key, auto is_type) {
    return json.is_object() && json.contains(key) && (json[key].*is_type)();
  };
  using Json = nlohmann::json;
  if (!has("run", &Json::is_string) || !has("model_sha256", &Json::is_string) ||
      !has("rounds", &Json::is_number_unsigned) ||
      !has("stopped", &Json::is_boolean) || json["run"] != run.value) {
    return Damaged(path);
  }
  FinishedRun finished;
  finished.run = run;
  const auto model = Digest::FromHex(json["model_sha256"].get<std::string>());
  if (!model.ok()) return Damaged(path);
  finished.model = *model;
  finished.rounds = json["rounds"].get<uint32_t>();
  finished.stopped = json["stopped"].get<bool>();
  return finished;
}

}  // namespace fedgraft
