#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/train/apply_arguments.h"
#include "client/train/command_line.h"
#include "client/train/predict.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

struct Arguments {
  PredictOptions options;
  ApplyArguments apply;
  std::string correction = "none", validation_path;
};

const std::map<std::string, PriorCorrectionKind>& Kinds() {
  static const auto* kinds = new std::map<std::string, PriorCorrectionKind>{
      {"none", PriorCorrectionKind::kNone},
      {"em", PriorCorrectionKind::kEm},
      {"given", PriorCorrectionKind::kGiven}};
  return *kinds;
}

absl::Status CheckCorrection(const Arguments& arguments) {
  const PriorCorrectionSpec& spec = arguments.options.correction;
  const bool is_given = spec.kind == PriorCorrectionKind::kGiven;
  const bool has_source =
      !arguments.validation_path.empty() || !spec.training_priors.empty();
  if (spec.kind == PriorCorrectionKind::kNone && has_source) {
    return absl::InvalidArgumentError(
        "--validation and --training-priors are for --prior-correction; "
        "expected em or given");
  }
  if (is_given == spec.priors.empty()) {
    return absl::InvalidArgumentError(
        is_given ? "--prior-correction given: expected --priors"
                 : "--priors: expected --prior-correction given");
  }
  if (!arguments.validation_path.empty() && !spec.training_priors.empty()) {
    return absl::InvalidArgumentError(
        "expected --validation, whose shares of the classes are the model's "
        "once it is calibrated, or --training-priors, not both");
  }
  return absl::OkStatus();
}

void PrintMetrics(const char* prefix,
                  const std::map<std::string, double>& metrics) {
  for (const auto& [name, value] : metrics) {
    std::printf("%s%s %.6g\n", prefix, name.c_str(), value);
  }
}

void PrintCorrection(const PriorCorrectionResult& correction,
                     const std::vector<std::string>& classes) {
  if (correction.validation_images > 0) {
    std::printf(
        "calibrated on %lld labelled images (temperature %.4g); their shares "
        "of the classes are the source\n",
        static_cast<long long>(correction.validation_images),
        correction.temperature);
  } else {
    std::printf("not calibrated; the training priors are the source\n");
  }
  const TargetPrior& target = correction.target;
  for (size_t c = 0; c < classes.size(); ++c) {
    std::printf("prior %s: source %.4f, these images %.4f", classes[c].c_str(),
                correction.source[c], target.prior[c]);
    if (target.low.empty()) {
      std::printf(" (given)\n");
    } else {
      std::printf(" (95 %%: %.4f to %.4f)\n", target.low[c], target.high[c]);
    }
  }
}

absl::Status Run(Arguments arguments) {
  PredictOptions& options = arguments.options;
  options.correction.kind = Kinds().at(arguments.correction);
  FG_RETURN_IF_ERROR(CheckCorrection(arguments));
  FG_RETURN_IF_ERROR(LoadCard(arguments.apply, options));
  FG_ASSIGN_OR_RETURN(const std::unique_ptr<DataSource> data,
                      OpenImages(arguments.apply, options));
  std::unique_ptr<DataSource> validation;
  if (!arguments.validation_path.empty()) {
    FG_ASSIGN_OR_RETURN(validation,
                        OpenLabelledImages(arguments.validation_path,
                                           arguments.apply, options));
  }
  options.correction.validation = validation.get();
  const ProgressSink silent = [](double, std::string_view) {
    return absl::OkStatus();
  };
  FG_ASSIGN_OR_RETURN(const PredictResult result,
                      Predict(options, *data, silent));
  std::printf("wrote %s: %zu images\n", options.out_path.c_str(),
              result.images);
  PrintMetrics("", result.metrics);
  if (result.correction.has_value()) {
    PrintCorrection(*result.correction, options.card.classes);
    PrintMetrics("corrected_", result.correction->metrics);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPredictCommand(CLI::App& app, absl::Status& status) {
  auto arguments = std::make_shared<Arguments>();
  PredictOptions& options = arguments->options;
  CLI::App* command = app.add_subcommand(
      "predict",
      "Apply a model to images: an exported one, or a run's with what of it "
      "stays at this site; writes a CSV file");
  AddApplyOptions(*command, options, arguments->apply);
  command->add_option("--out", options.out_path, "CSV file to write")
      ->required();
  command
      ->add_option("--prior-correction", arguments->correction,
                   "If classes are more or less common among these images than "
                   "where the model learned, and nothing else differs: em "
                   "estimates their shares from the images without labels, "
                   "given takes --priors. Adds corrected probabilities to the "
                   "file")
      ->check(CLI::IsMember({"none", "em", "given"}))
      ->capture_default_str();
  command
      ->add_option("--priors", options.correction.priors,
                   "Shares of the classes among these images: a,b,c")
      ->delimiter(',');
  command->add_option(
      "--validation", arguments->validation_path,
      "Labelled images that the model was not trained on, to calibrate it "
      "with: a client's config or its `data` as YAML or an NPZ file (their "
      "validation split), or a CSV manifest (all rows). Default: the "
      "validation split of --data, if it has one");
  command
      ->add_option("--training-priors", options.correction.training_priors,
                   "Without any labelled images: the classes' shares that the "
                   "model was trained on (equal ones under class weights). "
                   "Default: as the card "
                   "of an export says, which a run with looks at shift knows")
      ->delimiter(',');
  command->footer(
      "Example:\n"
      "  fedgraft-client predict --model model.safetensors --data images/ "
      "--out probabilities.csv\n"
      "  fedgraft-client predict --run /var/lib/fedgraft/runs/0123abcd "
      "--data images/ --out probabilities.csv \\\n"
      "    --prior-correction em --validation client.yaml");
  command->callback([arguments, &status] { status = Run(*arguments); });
}

}  // namespace fedgraft
