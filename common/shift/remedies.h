#pragma once

#include <cstdint>
#include <string_view>

#include "common/config/plan.h"
#include "common/protocol/messages.h"

// What a site can do in its own training about what it differs in
// (plan.shift.on_shift apply), and what stands against it in some plans. Sites
// and aggregator share the list.

namespace fedgraft {

// "importance weights"; empty for kNone.
std::string_view SiteRemedyName(SiteRemedy remedy);

// Numbers are journalled: they keep their meaning.
enum class RemedyObstacle : uint32_t {
  kNone = 0,
  kPeopleFirst = 1,      // everything differs
  kWeighsAlready = 2,    // every site weighs its records by the plan
  kClassesWeighted = 3,  // the plan weighs or draws classes
  kOwnModels = 4,        // the plan gives each site something of its own
  kEarlyStop = 5,        // an earlier state of a model of its own is not kept
  kSolver = 6,           // the plan solves for one head of all
};
// In words, for people: "the plan …". Empty for kNone or an unknown number.
std::string_view RemedyObstacleWords(RemedyObstacle obstacle);

// What stands against `remedy` in this plan; kNone also for no remedy.
RemedyObstacle ObstacleTo(SiteRemedy remedy, const Plan& plan);

// Beside a site's scalars of a look, where the aggregator keeps what it chose:
// numbers of SiteRemedy and RemedyObstacle.
inline constexpr std::string_view kChosenRemedy = "remedy.chosen";
inline constexpr std::string_view kChosenObstacle = "remedy.obstacle";

}  // namespace fedgraft
