#include "client/import/pickle_reader.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/import/pickle_writer.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::HasCode;
using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using ::fedgraft::testing::PickleWriter;
using ::testing::ElementsAre;

// An OrderedDict of two tensors, with the _metadata that torch puts beside.
Bytes StateDict() {
  PickleWriter pickle;
  pickle.OrderedDict().Op('q').Op(0).Op('(');
  pickle.Text("fc.weight").Tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1});
  pickle.Text("fc.bias").Tensor("HalfStorage", "1", 10, 8, {2}, {1});
  pickle.Op('u').Op('}').Text("_metadata").OrderedDict().Op('s').Op('b');
  return pickle.Finish();
}

const PickleNode& Root(const Pickled& pickled) {
  return pickled.nodes[pickled.root];
}

TEST(PickleReaderTest, ReadsAStateDict) {
  const Bytes bytes = StateDict();
  const auto pickled = ReadPickle(bytes);
  ASSERT_THAT(pickled, IsOk());
  EXPECT_EQ(pickled->size_bytes, bytes.size());
  const PickleNode& dict = Root(*pickled);
  ASSERT_EQ(dict.kind, PickleKind::kDict);
  ASSERT_EQ(dict.items.size(), 4u);
  EXPECT_EQ(pickled->nodes[dict.items[0]].text, "fc.weight");
  const PickleNode& bias = pickled->nodes[dict.items[3]];
  ASSERT_EQ(bias.kind, PickleKind::kTensor);
  const PickledTensor& tensor =
      pickled->tensors[static_cast<size_t>(bias.number)];
  EXPECT_EQ(tensor.storage.type, ElementType::kF16);
  EXPECT_EQ(tensor.storage.key, "1");
  EXPECT_EQ(tensor.storage.count, 10u);
  EXPECT_EQ(tensor.offset, 8u);
  EXPECT_THAT(tensor.shape, ElementsAre(2));
}

TEST(PickleReaderTest, ReadsNumbersTextsAndContainers) {
  PickleWriter pickle;
  pickle.Op(']').Op('(').Op('K').Op(200).Op('M').Op(1).Op(2);
  pickle.Op('J').Raw("\xfe\xff\xff\xff").Int(-5).Op('N').Op(0x88);
  pickle.Op('G').Raw(std::string(8, '\0')).Text("x").Ints({1, 2}).Op('e');
  const auto pickled = ReadPickle(pickle.Finish());
  ASSERT_THAT(pickled, IsOk());
  std::vector<PickleKind> kinds;
  std::vector<int64_t> numbers;
  for (const PickleRef ref : Root(*pickled).items) {
    kinds.push_back(pickled->nodes[ref].kind);
    numbers.push_back(pickled->nodes[ref].number);
  }
  EXPECT_THAT(
      kinds,
      ElementsAre(PickleKind::kInt, PickleKind::kInt, PickleKind::kInt,
                  PickleKind::kInt, PickleKind::kNone, PickleKind::kBool,
                  PickleKind::kFloat, PickleKind::kText, PickleKind::kTuple));
  EXPECT_THAT(numbers, ElementsAre(200, 513, -2, -5, 0, 1, 0, 0, 0));
}

TEST(PickleReaderTest, MemorisedValuesAreTheSameValue) {
  PickleWriter pickle;
  pickle.Op(']').Op('q').Op(7).Op('K').Op(1).Op('a').Op('h').Op(7).Op('a');
  const auto pickled = ReadPickle(pickle.Finish());
  ASSERT_THAT(pickled, IsOk());
  ASSERT_EQ(Root(*pickled).items.size(), 2u);
  EXPECT_EQ(Root(*pickled).items[1], pickled->root);  // holds itself
}

TEST(PickleReaderTest, AParameterIsItsTensor) {
  PickleWriter pickle;
  pickle.Global("torch._utils", "_rebuild_parameter").Op('(');
  pickle.Tensor("FloatStorage", "0", 1, 0, {1}, {1}).Op(0x88).OrderedDict();
  const auto pickled = ReadPickle(pickle.Op('t').Op('R').Finish());
  ASSERT_THAT(pickled, IsOk());
  EXPECT_EQ(Root(*pickled).kind, PickleKind::kTensor);
}

// The ways in which a pickle runs code. Nothing of this is called here: there
// is nothing that could call it.
TEST(PickleReaderTest, RefusesCodeAndNamesIt) {
  struct Case {
    Bytes pickle;
    std::string message;
  };
  const auto tensor = [](PickleWriter writer) {
    return writer.Tensor("FloatStorage", "0", 1, 0, {1}, {1});
  };
  const std::vector<Case> cases = {
      // What os.system pickles as.
      {PickleWriter()
           .Global("posix", "system")
           .Text("true")
           .Op(0x85)
           .Op('R')
           .Finish(),
       "refused posix.system: expected tensors"},
      {PickleWriter().Text("builtins").Text("eval").Op(0x93).Finish(),
       "refused builtins.eval"},
      {PickleWriter().Global("torch.nn.modules.linear", "Linear").Finish(),
       "refused torch.nn.modules.linear.Linear"},
      // Near misses of what is allowed.
      {PickleWriter().Global("torch._utils", "_rebuild_tensor_v3").Finish(),
       "refused torch._utils._rebuild_tensor_v3"},
      {PickleWriter().Global("collections", "defaultdict").Finish(),
       "refused collections.defaultdict"},
      {PickleWriter().Op('(').Op('i').Raw("os\nsystem\n").Finish(),
       "refused an instance of os.system"},
      {PickleWriter()
           .Op('(')
           .Global("collections", "OrderedDict")
           .Op('o')
           .Finish(),
       "refused an instance of"},
      {PickleWriter()
           .Global("collections", "OrderedDict")
           .Op(')')
           .Op(0x81)
           .Finish(),
       "refused an instance of collections.OrderedDict"},
      {PickleWriter().Op(0x82).Op(1).Finish(), "refused opcode 0x82"},
      {PickleWriter().Global("torch", "FloatStorage").Op(')').Op('R').Finish(),
       "refused a call of torch.FloatStorage with 0 arguments"},
      {PickleWriter().Op('}').Op(')').Op('R').Finish(),
       "refused a call of a dict"},
      {PickleWriter()
           .Global("collections", "OrderedDict")
           .Op(']')
           .Op(0x85)
           .Op('R')
           .Finish(),
       "refused a call of collections.OrderedDict with 1 arguments"},
      {tensor(PickleWriter()).Op('}').Op('b').Finish(),
       "refused the state of a tensor"},
      {PickleWriter().Text("storage").Op('Q').Finish(),
       "refused a persistent object that is not a storage"},
      {PickleWriter()
           .Op('(')
           .Text("module")
           .Global("torch", "FloatStorage")
           .Text("0")
           .Text("cpu")
           .Int(1)
           .Op('t')
           .Op('Q')
           .Finish(),
       "refused a persistent object"},
      {PickleWriter()
           .Op('(')
           .Text("storage")
           .Global("collections", "OrderedDict")
           .Text("0")
           .Text("cpu")
           .Int(1)
           .Op('t')
           .Op('Q')
           .Finish(),
       "refused a storage of collections.OrderedDict"}};
  for (const Case& test : cases) {
    EXPECT_THAT(ReadPickle(test.pickle),
                IsError(absl::StatusCode::kInvalidArgument, test.message));
  }
}

TEST(PickleReaderTest, RefusesTensorsThatReachOutsideTheirStorage) {
  struct Case {
    int64_t count, offset;
    std::vector<int64_t> shape, strides;
    bool good;
  };
  constexpr int64_t kHuge = int64_t{1} << 40;
  const std::vector<Case> cases = {
      {6, 0, {2, 3}, {3, 1}, true},
      {6, 0, {3, 2}, {1, 3}, true},        // transposed
      {6, 1, {2, 3}, {3, 1}, false},       // one too far
      {6, 5, {1, 1}, {1000, 1000}, true},  // strides that are never taken
      {6, 6, {1}, {1}, false},
      {6, 6, {0}, {1}, true},  // nothing to read
      {0, 0, {}, {}, false},
      {1, 0, {}, {}, true},
      {1, 0, {1000}, {0}, true},  // expanded
      {6, 0, {2}, {6}, false},
      {6, 0, {2, 2}, {4, 2}, false},          // each dimension alone would fit
      {kHuge, 0, {2, kHuge}, {1, 1}, false},  // 2^41 elements
      {6, 0, {2}, {kHuge}, false},
      {6, -1, {1}, {1}, false},
      {6, 0, {-1}, {1}, false},
      {6, 0, {1}, {-1}, false},
      {6, 0, {2, 3}, {1}, false},
      {1, 0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}, false}};
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE(i);
    const Case& test = cases[i];
    PickleWriter pickle;
    pickle.Tensor("FloatStorage", "0", test.count, test.offset, test.shape,
                  test.strides);
    EXPECT_EQ(ReadPickle(pickle.Finish()).ok(), test.good);
  }
}

TEST(PickleReaderTest, RefusesEveryTruncation) {
  const Bytes whole = StateDict();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(ReadPickle(ByteSpan(whole).first(size)),
                HasCode(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(PickleReaderTest, RefusesAStackThatDoesNotFit) {
  for (const std::string body :
       {"",   "R",     "b",     "Q",    "a",    "s",     "u",     "e",
        "t",  "0",     "1",     "\x93", "\x85", "h\x01", "q\x01", "]N",
        "(N", "}(NuN", "](NNu", "N)R",  "(0",   "NNs",   "\x94"}) {
    EXPECT_THAT(ReadPickle(PickleWriter().Raw(body).Finish()),
                HasCode(absl::StatusCode::kInvalidArgument))
        << body;
  }
}

TEST(PickleReaderTest, RefusesOtherProtocolsAndOtherFiles) {
  for (const std::string text :
       {"\x80\x01]."
        "",
        "\x80\x06].", "(lp0\n.", "PK\x03\x04", "\x89PNG"}) {
    EXPECT_THAT(ReadPickle(AsBytes(text)),
                IsError(absl::StatusCode::kInvalidArgument,
                        "expected a pickle of protocol 2 to 5"));
  }
}

TEST(PickleReaderTest, HasLimits) {
  EXPECT_THAT(ReadPickle(PickleWriter().Raw(std::string(1001, '(')).Finish()),
              IsError(absl::StatusCode::kResourceExhausted,
                      "more than 1000 open containers"));
  EXPECT_THAT(
      ReadPickle(PickleWriter().Raw(std::string(500'001, 'N')).Finish()),
      IsError(absl::StatusCode::kResourceExhausted, "more than 500000 values"));
  // The same value again and again is no new value, but fills the stack.
  PickleWriter again;
  again.Op('N').Op('q').Op(0);
  for (int i = 0; i < 500'000; ++i) again.Op('h').Op(0);
  EXPECT_THAT(ReadPickle(again.Finish()),
              HasCode(absl::StatusCode::kResourceExhausted));
  PickleWriter wide;
  wide.Op(0x8a).Op(9).Raw(std::string(9, '\x01'));
  EXPECT_THAT(ReadPickle(wide.Finish()),
              IsError(absl::StatusCode::kInvalidArgument,
                      "integers of at most 8 bytes"));
}

}  // namespace
}  // namespace fedgraft
