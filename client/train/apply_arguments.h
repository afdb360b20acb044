#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/data/data_source.h"
#include "client/train/model_choice.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fedgraft {

// What `predict` and `watch-data` have in common on the command line: which
// model, and the images that it is applied to.
struct ApplyArguments {
  std::string card_path, data_path, root;
  std::string image_column = "path", label_column = "label";
  int megapixels_max = 100;
};

// Adds the options; `model` and `arguments` outlive the parsing.
void AddApplyOptions(CLI::App& command, ModelChoice& model,
                     ApplyArguments& arguments);

// The card of the model that was chosen.
absl::Status LoadCard(const ApplyArguments& arguments, ModelChoice& model);

// The images of --data, opened for kPredict. REQUIRES: the card is loaded.
absl::StatusOr<std::unique_ptr<DataSource>> OpenImages(
    const ApplyArguments& arguments, const ModelChoice& model);

// Labelled images in `path`: of an NPZ file, or of YAML with what stands under
// `data` in a client's config (or all of the config), the splits of training;
// of a CSV manifest all rows, as test split.
absl::StatusOr<std::unique_ptr<DataSource>> OpenLabelledImages(
    const std::string& path, const ApplyArguments& arguments,
    const ModelChoice& model);

}  // namespace fedgraft
