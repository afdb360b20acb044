#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/net/grpc/tls.h"

namespace fedgraft::bench {

// The yardstick of a round: the same bytes through gRPC and mutual TLS and
// nothing else. Each client streams `up_bytes` to the server in chunks of
// 128 KiB and then is streamed `down_bytes` of a model; all at once. Nothing is
// kept, hashed, sealed or written.
struct BareMove {
  TlsFiles server;
  std::vector<TlsFiles> clients;
  uint64_t up_bytes = 0;
  uint64_t down_bytes = 0;
};

// Seconds from the first byte to the last. Server and clients are threads of
// this process. Aborts on an error.
double MoveBare(const BareMove& move);

}  // namespace fedgraft::bench
