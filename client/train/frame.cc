#include "client/train/frame.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

absl::Status SystemError(const char* action) {
  return absl::UnavailableError(
      absl::StrCat(action, " the daemon's socket: ", std::strerror(errno)));
}

// Returns how much was read: less than out.size() at the end of the stream.
absl::StatusOr<size_t> ReadFully(int fd, absl::Span<uint8_t> out) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = recv(fd, out.data() + done, out.size() - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("reading");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

}  // namespace

absl::StatusOr<Bytes> ReadFrame(int fd) {
  uint8_t header[4];
  FG_ASSIGN_OR_RETURN(size_t got, ReadFully(fd, absl::MakeSpan(header)));
  if (got == 0) return absl::OutOfRangeError("the daemon closed the socket");
  if (got < sizeof(header)) {
    return absl::DataLossError("the socket closed within a frame's length");
  }
  uint32_t size = 0;
  for (int i = 3; i >= 0; --i) size = size << 8 | header[i];
  if (size > kFrameSizeMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a frame of ", size, " bytes; at most ", kFrameSizeMax,
                     " are allowed"));
  }
  Bytes payload(size);
  FG_ASSIGN_OR_RETURN(got, ReadFully(fd, absl::MakeSpan(payload)));
  if (got < size) {
    return absl::DataLossError(absl::StrCat("the socket closed after ", got,
                                            " of a frame's ", size, " bytes"));
  }
  return payload;
}

absl::Status WriteFrame(int fd, ByteSpan payload) {
  if (payload.size() > kFrameSizeMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a reply of ", payload.size(), " bytes; at most ",
                     kFrameSizeMax, " are allowed"));
  }
  const Bytes frame = ByteWriter()
                          .U32(static_cast<uint32_t>(payload.size()))
                          .Raw(payload)
                          .bytes();
  for (size_t done = 0; done < frame.size();) {
    const ssize_t n =
        send(fd, frame.data() + done, frame.size() - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("writing to");
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
