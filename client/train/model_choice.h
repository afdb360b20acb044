#pragma once

#include <string>

#include "client/train/model_card.h"
#include "client/train/session.h"

namespace fedgraft {

// A finished model, as `predict` and `watch-data` are told of it: an exported
// one and its card, checked against each other; or what a run left at this
// site, and the card of that.
struct ModelChoice {
  std::string model_path;
  std::string run_folder;    // empty: `model_path`
  bool is_personal = false;  // of the run: the site's personal model
  ModelCard card;
  ComputeSpec compute;
};

}  // namespace fedgraft
