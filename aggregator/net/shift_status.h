#pragma once

#include <cstdint>
#include <string>

#include "aggregator/round/coordinator.h"
#include "proto/admin.pb.h"

namespace fedgraft {

// What operators are told of shift in the current run, made anew only when a
// site has told something. Single-strand.
class ShiftStatus {
 public:
  explicit ShiftStatus(const Coordinator& coordinator)
      : coordinator_(coordinator) {}

  // Sets shift_report and shift_table; leaves them empty if the run does not
  // track shift.
  void Fill(pb::StatusReply& status);

 private:
  const Coordinator& coordinator_;
  RunId run_;
  uint64_t version_ = 0;
  std::string json_, table_;
};

}  // namespace fedgraft
