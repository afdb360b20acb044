#pragma once

#include <memory>
#include <string>

#include "grpcpp/channel.h"
#include "proto/config.pb.h"

namespace fedgraft {

// A channel to the configured aggregator: mutual TLS with the site's identity,
// accepting only an aggregator of `federation`, with keep-alive.
std::shared_ptr<grpc::Channel> OpenSiteChannel(const pb::ClientConfig& config,
                                               const std::string& federation);

}  // namespace fedgraft
