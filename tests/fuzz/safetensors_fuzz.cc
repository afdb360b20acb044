// SafetensorsFile::Parse, and reading every tensor of what it accepts.

#include "common/model/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

namespace fedgraft {
namespace {

size_t ItemBytes(DType dtype) {
  switch (dtype) {
    case DType::kI64:
      return 8;
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
  }
  return 0;
}

void CheckPromises(const SafetensorsFile& file, size_t file_bytes) {
  size_t data_bytes = 0;
  for (const auto& [name, view] : file.tensors()) {
    size_t count = 1;
    for (const int64_t side : view.shape) count *= static_cast<size_t>(side);
    FG_CHECK(count * ItemBytes(view.dtype) == view.data.size());
    data_bytes += view.data.size();
    const auto floats = file.ReadFloats(name);
    FG_CHECK(floats.ok() == (view.dtype != DType::kI64));
    if (floats.ok()) FG_CHECK(floats->size() == count);
  }
  FG_CHECK(data_bytes <= file_bytes);
}

}  // namespace
}  // namespace fedgraft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto file =
      SafetensorsFile::Parse(ToBytes(ByteSpan(data, size)), "fuzz");
  if (file.ok()) {
    ++fuzz::accepted;
    CheckPromises(*file, size);
  } else {
    fuzz::CheckRefusal(file.status(), absl::StatusCode::kInvalidArgument);
  }
  return 0;
}
