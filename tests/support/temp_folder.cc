#include "tests/support/temp_folder.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "common/base/check.h"

namespace fedgraft::testing {

TempFolder::TempFolder() {
  path_ = (std::filesystem::temp_directory_path() / "fedgraft-XXXXXX").string();
  FG_CHECK(mkdtemp(path_.data()) != nullptr);
}

TempFolder::~TempFolder() {
  std::error_code ignored;  // a leftover folder fails no test
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace fedgraft::testing
