// VerifyAuditLog: a log that may have been edited.

#include <algorithm>

#include "common/audit/audit_log.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const std::string_view text = AsText(ByteSpan(data, size));
  const auto head = VerifyAuditLog(text);
  if (head.ok()) {
    ++fuzz::accepted;
    const auto lines = std::count(text.begin(), text.end(), '\n');
    FG_CHECK(head->lines == static_cast<uint64_t>(lines));
  } else {
    fuzz::CheckRefusal(head.status(), absl::StatusCode::kDataLoss);
  }
  return 0;
}
