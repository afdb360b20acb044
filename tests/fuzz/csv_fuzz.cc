// ParseCsv: manifests that people export from spreadsheets.

#include "client/data/csv.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fedgraft;
  const auto table = ParseCsv(AsText(ByteSpan(data, size)));
  if (!table.ok()) {
    fuzz::CheckRefusal(table.status(), absl::StatusCode::kInvalidArgument);
    return 0;
  }
  ++fuzz::accepted;
  FG_CHECK(!table->header.empty());
  size_t line = 0;
  for (const CsvRow& row : table->rows) {
    FG_CHECK(row.fields.size() == table->header.size());
    FG_CHECK(row.line > line);
    line = row.line;
  }
  return 0;
}
