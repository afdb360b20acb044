#pragma once

#include <string>

namespace fedgraft::testing {

// A new folder on disk, removed with its content by the destructor. For tests
// of what really touches files; others use SimFileStore.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace fedgraft::testing
