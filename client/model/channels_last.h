#pragma once

#include "client/model/network.h"

namespace fedgraft {

// Convolutions on the CPU run faster with the channels last in memory; what
// they compute then comes out in that order too. Values do not change.
void PutChannelsLast(Network& network);

}  // namespace fedgraft
