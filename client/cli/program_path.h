#pragma once

#include <string>

namespace fedgraft {

// The path of a program in the folder of the running one.
std::string SiblingProgram(const std::string& name);

}  // namespace fedgraft
