#include "common/protocol/statements.h"

#include <set>

#include "gtest/gtest.h"

namespace fedgraft {
namespace {

Digest Filled(uint8_t byte) {
  Digest digest;
  digest.bytes.fill(byte);
  return digest;
}

UploadHeader Header() {
  UploadHeader header;
  header.run = {"run-7"};
  header.round = {3};
  header.kind = TaskKind::kTrain;
  header.plan_hash = Filled(0xaa);
  header.base_model = Filled(0xbb);
  header.size_bytes = 0x0102;
  header.sealed_digest = Filled(0xcc);
  header.signature = Bytes(64, 0xdd);
  return header;
}

std::string Hex(const Digest& digest) { return digest.Hex(); }

// The canonical bytes are a wire contract: written out once by hand.
TEST(StatementsTest, RunKeyStatementHasItsDocumentedBytes) {
  EXPECT_EQ(ToHex(RunKeyStatement({"r"}, Filled(0xaa), Bytes{1, 2})),
            "12000000" + ToHex(AsBytes("fedgraft/run-key/1")) + "02000000" +
                "01000000" + "72" + Hex(Filled(0xaa)) + "02000000" + "0102");
}

TEST(StatementsTest, UpdateContextAndUploadStatementHaveTheirBytes) {
  const std::string context =
      "11000000" + ToHex(AsBytes("fedgraft/update/1")) + "02000000" +
      "05000000" + ToHex(AsBytes("run-7")) + Hex(Filled(0xaa)) + "03000000" +
      "05000000" + ToHex(AsBytes("north")) + "01" + Hex(Filled(0xbb));
  EXPECT_EQ(ToHex(UpdateContext({"north"}, Header())), context);
  // 4 + 17 + 4 + 4 + 5 + 32 + 4 + 4 + 5 + 1 + 32 = 112 bytes.
  EXPECT_EQ(ToHex(UploadStatement({"north"}, Header())),
            "11000000" + ToHex(AsBytes("fedgraft/upload/1")) + "70000000" +
                context + "0201000000000000" + Hex(Filled(0xcc)));
}

TEST(StatementsTest, EveryBoundFieldChangesTheStatement) {
  std::set<Bytes> statements;
  statements.insert(UploadStatement({"north"}, Header()));
  statements.insert(UploadStatement({"south"}, Header()));
  const auto add = [&statements](auto change) {
    UploadHeader header = Header();
    change(header);
    statements.insert(UploadStatement({"north"}, header));
  };
  add([](UploadHeader& h) { h.run = {"run-8"}; });
  add([](UploadHeader& h) { h.round = {4}; });
  add([](UploadHeader& h) { h.kind = TaskKind::kEvaluate; });
  add([](UploadHeader& h) { h.plan_hash = Filled(1); });
  add([](UploadHeader& h) { h.base_model = Filled(1); });
  add([](UploadHeader& h) { h.size_bytes = 1; });
  add([](UploadHeader& h) { h.sealed_digest = Filled(1); });
  EXPECT_EQ(statements.size(), 9u);
}

TEST(StatementsTest, SignatureIsNotPartOfWhatItSigns) {
  UploadHeader unsigned_header = Header();
  unsigned_header.signature.clear();
  EXPECT_EQ(UploadStatement({"north"}, unsigned_header),
            UploadStatement({"north"}, Header()));
}

TEST(StatementsTest, ShiftingCharactersBetweenFieldsChangesTheBytes) {
  UploadHeader a = Header();
  a.run = {"ab"};
  UploadHeader b = Header();
  b.run = {"a"};
  EXPECT_NE(UpdateContext({"c"}, a), UpdateContext({"bc"}, b));
}

}  // namespace
}  // namespace fedgraft
