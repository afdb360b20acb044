#include "client/data/csv.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedgraft {
namespace {

using ::fedgraft::testing::IsError;
using ::fedgraft::testing::IsOk;
using Fields = std::vector<std::string>;

TEST(CsvTest, ReadsWhatRfc4180Allows) {
  struct Case {
    std::string name, text;
    Fields header;
    std::vector<Fields> rows;
  };
  const std::vector<Case> cases = {
      {"plain", "a,b\n1,2\n3,4\n", {"a", "b"}, {{"1", "2"}, {"3", "4"}}},
      {"no last line end", "a,b\n1,2", {"a", "b"}, {{"1", "2"}}},
      {"CRLF", "a,b\r\n1,2\r\n", {"a", "b"}, {{"1", "2"}}},
      {"byte order mark",
       "\xEF\xBB\xBF"
       "a,b\n1,2\n",
       {"a", "b"},
       {{"1", "2"}}},
      {"empty fields", "a,b\n,\n", {"a", "b"}, {{"", ""}}},
      {"quotes",
       "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n",
       {"a", "b"},
       {{"x,y", "say \"hi\""}}},
      {"line end inside quotes",
       "a,b\n\"x\r\ny\",2\n",
       {"a", "b"},
       {{"x\r\ny", "2"}}},
      {"quoted header", "\"a b\",\"c,d\"\n1,2\n", {"a b", "c,d"}, {{"1", "2"}}},
      {"empty lines", "\n\na,b\n\n1,2\n\n\n", {"a", "b"}, {{"1", "2"}}},
      {"lone CR is data", "a\nx\ry\n", {"a"}, {{"x\ry"}}},
      {"quoted empty field alone", "a\n\"\"\n", {"a"}, {{""}}},
      {"header only", "a,b\n", {"a", "b"}, {}},
      {"UTF-8", "größe,b\nä,2\n", {"größe", "b"}, {{"ä", "2"}}},
  };
  for (const Case& c : cases) {
    const auto table = ParseCsv(c.text);
    ASSERT_THAT(table, IsOk()) << c.name;
    EXPECT_EQ(table->header, c.header) << c.name;
    std::vector<Fields> rows;
    for (const CsvRow& row : table->rows) rows.push_back(row.fields);
    EXPECT_EQ(rows, c.rows) << c.name;
  }
}

TEST(CsvTest, CountsLinesAsAnEditorDoes) {
  const auto table = ParseCsv("a\n\"1\n2\"\n\n3\n");
  ASSERT_THAT(table, IsOk());
  ASSERT_EQ(table->rows.size(), 2u);
  EXPECT_EQ(table->rows[0].line, 2u);
  EXPECT_EQ(table->rows[1].line, 5u);
}

TEST(CsvTest, RefusesBrokenTablesNamingTheLine) {
  struct Case {
    std::string text, message;
  };
  const std::vector<Case> cases = {
      {"", "expected a header row"},
      {"\n\r\n", "expected a header row"},
      {"a,b\n1,2,3\n", "line 2: expected 2 fields, found 3"},
      {"a,b\n1,2\n\n1\n", "line 4: expected 2 fields, found 1"},
      {"a,a\n1,2\n", "line 1: column \"a\" appears twice"},
      {"a,\n1,2\n", "line 1: a column without a name"},
      {"a,b\n1,2\"\n", "line 2: a quote inside a field that is not quoted"},
      {"a,b\n1,\"2\"x\n", "line 2: expected a comma or line end"},
      {"a,b\n1,\"2\n3,4\n", "line 2: a quoted field that never ends"},
      {std::string("a,b\n1,\0\n", 8), "NUL"},
      {std::string("\xFF\xFE"
                   "a\0,\0",
                   6),
       "UTF-16"},
      {std::string(5000, ','), "more than 4096 columns"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(ParseCsv(c.text),
                IsError(absl::StatusCode::kInvalidArgument, c.message))
        << c.text.substr(0, 40);
  }
}

}  // namespace
}  // namespace fedgraft
