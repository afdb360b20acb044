#pragma once

#include <string>

namespace fedgraft {

// The shortest valid plan; tests append or replace lines.
inline std::string MinimalPlan() {
  return "version: 1\n"
         "name: small\n"
         "rounds: 2\n"
         "sites: {quorum: 3}\n"
         "task: {classes: [no, yes]}\n"
         "backbone:\n"
         "  architecture: resnet18\n"
         "  sha256: " +
         std::string(64, 'a') +
         "\n"
         "strategy: {kind: linear_probe}\n";
}

}  // namespace fedgraft
