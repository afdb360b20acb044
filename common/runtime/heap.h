#pragma once

namespace fedgraft {

// Lets the C library keep some freed megabytes per thread. Its default gives
// back more than 128 KiB of free memory at once, and a process that moves bulk
// bytes in chunks of that size then pays for clearing pages with each of them.
// REQUIRES: called before other threads start.
void KeepFreedChunks();

}  // namespace fedgraft
