#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace fedgraft {

// Frames on the socket between daemon and trainer: u32 little-endian length,
// then that many bytes. Longer ones are refused before anything is allocated.
inline constexpr uint32_t kFrameSizeMax = 16 << 20;

// Blocks for a frame. OUT_OF_RANGE: the other side has closed between frames.
// DATA_LOSS: closed within one. INVALID_ARGUMENT: too long (the stream cannot
// be used any more). UNAVAILABLE: the system's error.
absl::StatusOr<Bytes> ReadFrame(int fd);

// UNAVAILABLE: the other side has closed (no SIGPIPE is raised), or the
// system's error. INVALID_ARGUMENT: too long.
absl::Status WriteFrame(int fd, ByteSpan payload);

}  // namespace fedgraft
