#include "client/update/update_values.h"

#include <algorithm>
#include <bit>

#include "common/base/check.h"

namespace fedgraft {

static_assert(std::endian::native == std::endian::little,
              "the trainer's file is read as it lies on disk");

UpdateValues::UpdateValues(ParameterVector values)
    : values_(std::make_shared<const ParameterVector>(std::move(values))),
      count_(values_->size()) {}

absl::Status UpdateValues::Read(uint64_t begin, absl::Span<float> out) const {
  FG_CHECK(begin <= count_ && out.size() <= count_ - begin);
  if (values_ != nullptr) {
    std::copy_n(values_->begin() + static_cast<ptrdiff_t>(begin), out.size(),
                out.begin());
    return absl::OkStatus();
  }
  return file_->ReadAt(
      begin * sizeof(float),
      {reinterpret_cast<uint8_t*>(out.data()), out.size() * sizeof(float)});
}

}  // namespace fedgraft
