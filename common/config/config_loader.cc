#include "common/config/config_loader.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/digest.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/config/config_errors.h"
#include "common/config/loopback.h"
#include "common/config/yaml_to_proto.h"

namespace fedgraft {
namespace {

// "host:port" or "[v6]:port".
bool IsAddress(absl::string_view text, int port_min) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || colon == 0) return false;
  const absl::string_view host = text.substr(0, colon);
  const bool is_bracketed = absl::StartsWith(host, "[");
  if (is_bracketed != absl::EndsWith(host, "]")) return false;
  if (!is_bracketed && absl::StrContains(host, ":")) return false;
  if (absl::StrContains(text, " ") || absl::StrContains(text, "/")) {
    return false;
  }
  int port = -1;
  return absl::SimpleAtoi(text.substr(colon + 1), &port) && port >= port_min &&
         port <= 65535;
}

void CheckAddress(const char* key, const std::string& text, int port_min,
                  ConfigErrors& errors) {
  if (IsAddress(text, port_min)) return;
  errors.Add(key, absl::StrCat("found \"", text,
                               "\"; expected host:port with "
                               "a port from ",
                               port_min, " to 65535"));
}

// What is not on loopback shows itself to a network.
void CheckWeb(const pb::WebConfig& web, ConfigErrors& errors) {
  const bool has_certificate = !web.certificate_file().empty();
  if (has_certificate == web.key_file().empty()) {
    errors.Add(has_certificate ? "web.key_file" : "web.certificate_file",
               "is missing; certificate_file and key_file go together");
  }
  if (web.listen().empty()) return;
  CheckAddress("web.listen", web.listen(), 0, errors);
  const std::string host = web.listen().substr(0, web.listen().rfind(':'));
  if (IsLoopbackHost(host)) return;
  const auto need = [&](const char* key, const std::string& value) {
    if (!value.empty()) return;
    errors.Add(key, absl::StrCat("is missing; web.listen ", web.listen(),
                                 " is not a loopback address, so that the page "
                                 "needs TLS (certificate_file, key_file) and a "
                                 "token_file"));
  };
  need("web.certificate_file", web.certificate_file());
  need("web.token_file", web.token_file());
}

void Check(const pb::AggregatorConfig& config, ConfigErrors& errors) {
  if (!SiteId::Parse(config.federation()).ok()) {
    errors.Add("federation",
               absl::StrCat("found \"", config.federation(),
                            "\"; expected 1 to 63 of a-z, 0-9, '-', '_', "
                            "starting with a letter or digit"));
  }
  // Port 0: the system chooses one.
  CheckAddress("listen", config.listen(), 0, errors);
  CheckAddress("admin_listen", config.admin_listen(), 0, errors);
  CheckWeb(config.web(), errors);
  if (absl::StartsWith(config.wrapping_key_file(), config.state_dir() + "/")) {
    errors.Add("wrapping_key_file",
               "found a file inside state_dir; expected one on another volume, "
               "so that who takes the spool does not get its key");
  }
}

void CheckTable(const pb::DataConfig& data, const std::string& prefix,
                ConfigErrors& errors) {
  const pb::TableConfig& table = data.table();
  const bool is_empty = table.numeric().empty() && table.categories().empty();
  if (is_empty == (data.kind() == "table")) {
    errors.Add(prefix + "table",
               is_empty ? "is missing; kind table expects the columns under "
                          "numeric and categories"
                        : absl::StrCat("found columns; kind ", data.kind(),
                                       " expects none"));
  }
  // What a column is besides a feature would make it leak or mean nothing.
  std::set<std::string> seen = {data.label_column(), data.patient_column(),
                                data.split_column()};
  const auto check_column = [&](const std::string& path,
                                const std::string& column) {
    if (seen.insert(column).second) return;
    errors.Add(path, absl::StrCat("found \"", column,
                                  "\"; expected columns that are named once "
                                  "and are not label, patient or split"));
  };
  for (int i = 0; i < table.numeric_size(); ++i) {
    check_column(absl::StrCat(prefix, "table.numeric[", i, "]"),
                 table.numeric(i));
  }
  for (int i = 0; i < table.categories_size(); ++i) {
    const std::string path = absl::StrCat(prefix, "table.categories[", i, "].");
    check_column(path + "column", table.categories(i).column());
    const auto& values = table.categories(i).values();
    if (std::set<std::string>(values.begin(), values.end()).size() !=
        static_cast<size_t>(values.size())) {
      errors.Add(path + "values", "found a value twice; expected each once");
    }
  }
}

// `prefix`: "data." in a client's config, else empty.
void CheckData(const pb::DataConfig& data, const std::string& prefix,
               ConfigErrors& errors) {
  if (data.kind() != "phantom" && data.path().empty()) {
    errors.Add(prefix + "path",
               absl::StrCat("is missing; kind ", data.kind(), " expects ",
                            data.kind() == "folder"  ? "the CSV manifest"
                            : data.kind() == "table" ? "the CSV file"
                                                     : "the .npz file"));
  }
  if (data.val_fraction() + data.test_fraction() > 0.95) {
    errors.Add(prefix + "test_fraction",
               absl::StrCat("found ", data.test_fraction(), " beside ",
                            data.val_fraction(),
                            " of val_fraction; expected a sum of at most 0.95, "
                            "to leave images for training"));
  }
  if (data.filter_column().empty() != data.filter_value().empty()) {
    errors.Add(prefix + (data.filter_column().empty() ? "filter_column"
                                                      : "filter_value"),
               "is missing; filter_column and filter_value go together");
  }
  if (data.shard_index() >= data.shard_count()) {
    errors.Add(
        prefix + "shard_index",
        absl::StrCat("found ", data.shard_index(),
                     "; expected less than shard_count, ", data.shard_count()));
  }
  if (data.shard_count() > 1 && data.kind() != "npz") {
    errors.Add(prefix + "shard_count",
               absl::StrCat("found ", data.shard_count(),
                            "; only kind npz shares out its images"));
  }
  CheckTable(data, prefix, errors);
  const pb::PhantomConfig& phantom = data.phantom();
  if (phantom.lesion_radius_min() > phantom.lesion_radius_max()) {
    errors.Add(prefix + "phantom.lesion_radius_min",
               absl::StrCat("found ", phantom.lesion_radius_min(),
                            "; expected at most lesion_radius_max, ",
                            phantom.lesion_radius_max()));
  }
}

void CheckDevice(const std::string& device, ConfigErrors& errors) {
  absl::string_view text = device;
  int number = -1;
  if (text == "auto" || text == "cpu" || text == "cuda" ||
      (absl::ConsumePrefix(&text, "cuda:") && absl::SimpleAtoi(text, &number) &&
       number >= 0 && number < 1024)) {
    return;
  }
  errors.Add("compute.device",
             absl::StrCat("found \"", device,
                          "\"; expected auto, cpu, cuda or cuda:N"));
}

void CheckPolicy(const pb::PolicyConfig& policy, ConfigErrors& errors) {
  for (int i = 0; i < policy.strategies_size(); ++i) {
    const std::string& word = policy.strategies(i);
    if (word != "linear_probe" && word != "partial" && word != "full") {
      errors.Add(absl::StrCat("policy.strategies[", i, "]"),
                 absl::StrCat("found \"", word,
                              "\"; expected one of linear_probe, partial, "
                              "full"));
    }
  }
  for (int i = 0; i < policy.plans_size(); ++i) {
    if (!Digest::FromHex(policy.plans(i)).ok()) {
      errors.Add(absl::StrCat("policy.plans[", i, "]"),
                 absl::StrCat("found \"", policy.plans(i),
                              "\"; expected 64 hexadecimal digits (a plan's "
                              "hash)"));
    }
  }
}

void Check(const pb::ClientConfig& config, ConfigErrors& errors) {
  CheckAddress("aggregator", config.aggregator(), 1, errors);
  CheckData(config.data(), "data.", errors);
  CheckDevice(config.compute().device(), errors);
  CheckPolicy(config.policy(), errors);
}

void Check(const pb::DataConfig& config, ConfigErrors& errors) {
  CheckData(config, "", errors);
}

template <typename Message>
absl::StatusOr<Message> Load(const std::string& path) {
  FG_ASSIGN_OR_RETURN(const ConfigFile file, ReadConfigFile(path));
  ConfigErrors errors(path);
  Message config;
  YamlToProto(file.text, file.folder, config, errors);
  FG_RETURN_IF_ERROR(errors.ToStatus());
  Check(config, errors);
  FG_RETURN_IF_ERROR(errors.ToStatus());
  return config;
}

}  // namespace

absl::StatusOr<pb::AggregatorConfig> LoadAggregatorConfig(
    const std::string& path) {
  return Load<pb::AggregatorConfig>(path);
}

absl::StatusOr<pb::ClientConfig> LoadClientConfig(const std::string& path) {
  return Load<pb::ClientConfig>(path);
}

absl::StatusOr<pb::DataConfig> LoadDataConfig(const std::string& path) {
  return Load<pb::DataConfig>(path);
}

}  // namespace fedgraft
