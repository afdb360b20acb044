#pragma once

#include <string_view>

#include "client/train/session.h"

namespace fedgraft {

// A part of a call, as a range of the whole call's progress, which outlives it.
inline ProgressSink Part(const ProgressSink& progress, double begin,
                         double end) {
  return [&progress, begin, end](double fraction, std::string_view stage) {
    return progress(begin + (end - begin) * fraction, stage);
  };
}

}  // namespace fedgraft
