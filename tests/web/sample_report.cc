#include "tests/web/sample_report.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"

namespace fedgraft::testing {
namespace {

using Json = nlohmann::json;

struct TestSpec {
  std::string name, kind;
  bool decisive, charted;
  std::string title;
};
// As the sites' tests are named and shown.
const std::vector<TestSpec>& Tests() {
  static const auto& tests = *new std::vector<TestSpec>{
      {"covariate_mmd", "covariate", true, true, "features"},
      {"covariate_adjusted", "covariate", true, false,
       "features, labels aside"},
      {"acquisition_brightness", "covariate", true, false, "brightness"},
      {"acquisition_contrast", "covariate", true, false, "contrast"},
      {"acquisition_noise", "covariate", true, false, "noise"},
      {"acquisition_sharpness", "covariate", true, false, "sharpness"},
      {"covariate_outputs", "covariate", false, false, "model's confidence"},
      {"label_score", "label", true, true, "base rate"},
      {"label_profiled", "label", true, false, "base rate, reading aside"},
      {"label_em", "label", false, false, "estimated shares"},
      {"label_counts", "label", false, false, "labelled classes"},
      {"concept_score", "concept", true, true, "reading"},
      {"concept_conditional", "concept", false, false,
       "features within a class"}};
  return tests;
}

constexpr const char* kNames[] = {"north-hospital", "east-clinic",
                                  "south-hospital", "west-clinic"};

std::string NameOf(int site) {
  return site < 4 ? kNames[site] : absl::StrCat("site-", site + 1);
}

double Round5(double value) { return std::round(value * 1e5) / 1e5; }

class Maker {
 public:
  Maker(int sites, int rounds) : sites_(sites), rounds_(rounds) {}

  Json Make() {
    Json report = {{"federation", "chest-net"},
                   {"run", "5f3a0c9be1d24a77"},
                   {"plan", "pneumonia-probe"},
                   {"plan_hash", std::string(64, 'a')},
                   {"state", "training"},
                   {"round", rounds_},
                   {"rounds", rounds_ + rounds_ / 4},
                   {"quorum", std::max(1, sites_ - 1)},
                   {"started_unix_ms", 1764144000000},
                   {"eta_seconds", 754.0},
                   {"model_sha256", std::string(64, 'b')},
                   {"aggregator_peak_rss_bytes", 48 << 20}};
    AddSites(report);
    AddHistory(report);
    AddTransfer(report);
    AddShift(report);
    return report;
  }

 private:
  double Uniform() { return std::uniform_real_distribution<>(0, 1)(random_); }
  bool Changed(int site, int round) const {
    return site == 0 && 2 * round > rounds_;
  }

  void AddSites(Json& report) {
    for (int s = 0; s < sites_; ++s) {
      const double auc = 0.86 + 0.08 * Uniform();
      const double half = 0.02 + 0.04 * Uniform();
      Json scalars = {{"n", 80 + 40 * (s % 7)},
                      {"auc", auc},
                      {"auc_low", auc - half},
                      {"auc_high", std::min(auc + half, 0.999)},
                      {"local_auc", auc - 0.09 + 0.1 * Uniform()},
                      {"privacy_epsilon", 0.8 + 2.5 * Uniform()},
                      {"privacy_epsilon_max", s % 3 == 2 ? 0.0 : 3.2},
                      {"privacy_delta", 1e-5}};
      report["sites"].push_back(
          {{"site", NameOf(s)},
           {"connected", s != 3},
           {"state", s % 2 == 0 ? "training" : "uploading"},
           {"progress", 0.2 + 0.6 * Uniform()},
           {"rounds", rounds_ - s % 3},
           {"bytes_received", 4200000 + 31000 * s},
           {"bytes_sent", 8100000 + 77000 * s},
           {"last_seen_unix_ms", 1764147600000 - 4000 * s},
           {"refusals", s == 1 ? 2 : 0},
           {"last_refusal",
            s == 1 ? "norm 41.2 is above update.clip_norm, 10" : ""},
           {"scalars", scalars}});
    }
  }

  void AddHistory(Json& report) {
    for (int r = 1; r <= rounds_; ++r) {
      const double share = static_cast<double>(r) / rounds_;
      const double auc = 0.93 - 0.3 * std::exp(-4 * share);
      Json names = Json::array();
      for (int s = 0; s < sites_; ++s) names.push_back(NameOf(s));
      report["history"].push_back(
          {{"round", r},
           {"sites", names},
           {"seconds", 3.1 + Uniform()},
           {"bytes_up", 41000 * sites_},
           {"bytes_down", 82000 * sites_},
           {"saturated", 0},
           {"metrics",
            {{"n", 90 * sites_},
             {"auc", auc},
             {"auc_low", auc - 0.03},
             {"auc_high", auc + 0.02},
             {"balanced_accuracy", auc - 0.08 + 0.01 * Uniform()},
             {"loss", 0.32 + 0.4 * std::exp(-4 * share)}}},
           {"influence", Json::object()}});
    }
    report["pooled"] = report["history"].back()["metrics"];
  }

  void AddTransfer(Json& report) {
    Json& drift = report["transfer"]["drift"];
    const char* stages[] = {"stem", "layer1", "layer2", "layer3", "layer4"};
    for (int i = 0; i < 5; ++i) {
      const double centre = i < 3 ? 0 : 0.06 * (i - 2) * (i - 2);
      drift.push_back({{"stage", stages[i]},
                       {"sites", sites_},
                       {"mean", centre},
                       {"pooled", centre},
                       {"least", centre * 0.7},
                       {"most", centre * 1.6}});
    }
  }

  double P(int site, int round, const TestSpec& test) {
    const double p = Uniform();
    if (Changed(site, round) && test.kind == "covariate") {
      return 1e-4 * p;
    }
    if (site == 1 && test.kind == "label") return 0.03 * p;
    return p;
  }

  void AddTests(Json& shift) {
    for (const TestSpec& test : Tests()) {
      shift["tests"].push_back({{"name", test.name},
                                {"kind", test.kind},
                                {"decisive", test.decisive},
                                {"charted", test.charted},
                                {"title", test.title},
                                {"shows", "Compares " + test.title + "."},
                                {"means", "They differ."}});
    }
    for (int r = 1; r <= rounds_; ++r) {
      Json p = Json::array(), effect = Json::array();
      for (int s = 0; s < sites_; ++s) {
        Json ps = Json::array(), effects = Json::array();
        for (const TestSpec& test : Tests()) {
          ps.push_back(Round5(P(s, r, test)));
          effects.push_back(Round5(0.1 * Uniform()));
        }
        p.push_back(ps);
        effect.push_back(effects);
      }
      shift["rounds"].push_back(r);
      shift["p"].push_back(p);
      shift["adjusted"].push_back(p);
      shift["effect"].push_back(effect);
      shift["statistic"].push_back(effect);
    }
  }

  void AddTriage(Json& shift) {
    for (int s = 0; s < sites_; ++s) {
      Json one = {{"round", rounds_},
                  {"site", NameOf(s)},
                  {"kinds", Json::array()},
                  {"verdict", "no shift"},
                  {"reason", ""},
                  {"remedy", "none"},
                  {"advice", ""}};
      if (s == 0) {
        one["kinds"] = {"covariate"};
        one["verdict"] = "covariate shift";
        one["reason"] = "noise and sharpness of the images differ";
        one["remedy"] = "normalization";
        one["advice"] = "Keep BatchNorm local (FedBN), or weight the images.";
      } else if (s == 1) {
        one["kinds"] = {"label"};
        one["verdict"] = "label shift";
        one["reason"] = "pneumonia is half as common as elsewhere";
        one["remedy"] = "prior_correction";
        one["advice"] = "Predict there with --prior-correction em.";
      }
      shift["triage"].push_back(one);
      for (const char* name : {"normal", "pneumonia"}) {
        const bool second = name[0] == 'p';
        const double share = s == 1 ? 0.21 : 0.45 + 0.04 * (Uniform() - 0.5);
        const double own = second ? share : 1 - share;
        shift["priors"].push_back({{"round", rounds_},
                                   {"site", NameOf(s)},
                                   {"class", name},
                                   {"prior", own},
                                   {"low", own - 0.06},
                                   {"high", own + 0.06},
                                   {"reference", second ? 0.45 : 0.55}});
      }
    }
  }

  void AddCharts(Json& shift) {
    for (int s = 0; s < sites_; ++s) {
      for (const TestSpec& test : Tests()) {
        if (!test.charted) continue;
        Json chart = {{"site", NameOf(s)},      {"test", test.name},
                      {"threshold", 7.1},       {"deviation", 1},
                      {"state", "quiet"},       {"rounds", Json::array()},
                      {"value", Json::array()}, {"alarms", Json::array()}};
        double high = 0;
        for (int r = 1; r <= rounds_; ++r) {
          const bool moved = Changed(s, r) && test.name == "covariate_mmd";
          high = std::max(0.0, high + 2 * Uniform() - 1.3 + (moved ? 1.2 : 0));
          chart["rounds"].push_back(r);
          chart["value"].push_back(Round5(high));
          chart["high"].push_back(Round5(high));
          chart["low"].push_back(0);
          if (high > 7.1 && chart["alarms"].empty()) {
            chart["alarms"].push_back(r);
            chart["state"] = "alarm";
            shift["alarms"].push_back(
                {{"round", r},
                 {"site", NameOf(s)},
                 {"test", test.name},
                 {"direction", "up"},
                 {"words", "features have moved away since about round 20"}});
          }
        }
        shift["charts"].push_back(chart);
      }
    }
  }

  void AddShift(Json& report) {
    report["scanners"] = {
        {"round", rounds_},
        {"records", 300},
        {"counts",
         {{{"name", "ge"}, {"title", "GE HealthCare"}, {"records", 200}},
          {{"name", "siemens"},
           {"title", "Siemens Healthineers"},
           {"records", 75}},
          {{"name", "not_told"},
           {"title", "not told, or too few to name"},
           {"records", 25}}}}};
    Json& shift = report["shift"];
    shift = {{"version", 1},
             {"false_discovery_rate", 0.05},
             {"false_alarm_rate", 0.05},
             {"rounds_planned", rounds_},
             {"classes", {"normal", "pneumonia"}},
             {"alarms", Json::array()},
             {"notes",
              {"site-3 releases no test: its policy keeps scalars "
               "in"}}};
    for (int s = 0; s < sites_; ++s) shift["sites"].push_back(NameOf(s));
    AddTests(shift);
    AddTriage(shift);
    AddCharts(shift);
    for (int s = 0; s < sites_; ++s) {
      const double delta = s == 2 ? -0.04 : 0.06 * Uniform() - 0.01;
      const char* verdict = s == 2         ? "harms"
                            : delta > 0.02 ? "helps"
                                           : "no difference";
      shift["transfer"].push_back({{"round", rounds_},
                                   {"site", NameOf(s)},
                                   {"delta", delta},
                                   {"low", delta - 0.02},
                                   {"high", delta + 0.02},
                                   {"p", 0.01},
                                   {"adjusted", 0.02},
                                   {"verdict", verdict},
                                   {"words", ""}});
    }
  }

  const int sites_, rounds_;
  std::mt19937_64 random_{7};
};

}  // namespace

nlohmann::json SampleReport(int sites, int rounds) {
  return Maker(sites, rounds).Make();
}

nlohmann::json EmptyReport() {
  return {{"federation", "chest-net"},
          {"run", "0a1b2c3d"},
          {"plan", "first-try"},
          {"state", "enrolling"},
          {"round", 0},
          {"rounds", 20},
          {"quorum", 3},
          {"history", Json::array()},
          {"pooled", Json::object()},
          {"sites", Json::array()}};
}

}  // namespace fedgraft::testing
