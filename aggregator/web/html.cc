#include "aggregator/web/html.h"

#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace fedgraft {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";
constexpr absl::string_view kNone = "\xE2\x80\x93";  // en dash

// Bytes of the UTF-8 sequence at the beginning of `text`; 0: not one.
size_t SequenceSize(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const size_t size = byte(0) < 0x80   ? 1
                      : byte(0) < 0xC2 ? 0
                      : byte(0) < 0xE0 ? 2
                      : byte(0) < 0xF0 ? 3
                      : byte(0) < 0xF5 ? 4
                                       : 0;
  if (size > text.size()) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and beyond U+10FFFF.
  if (size == 3 && ((byte(0) == 0xE0 && byte(1) < 0xA0) ||
                    (byte(0) == 0xED && byte(1) > 0x9F))) {
    return 0;
  }
  if (size == 4 && ((byte(0) == 0xF0 && byte(1) < 0x90) ||
                    (byte(0) == 0xF4 && byte(1) > 0x8F))) {
    return 0;
  }
  return size;
}

// Characters that show nothing or turn the direction of what follows.
bool IsInvisible(absl::string_view sequence) {
  const auto first = static_cast<uint8_t>(sequence[0]);
  if (sequence.size() == 1) {
    return (first < 0x20 && first != '\n' && first != '\t') || first == 0x7F;
  }
  if (sequence.size() == 2) {
    return first == 0xC2 && static_cast<uint8_t>(sequence[1]) < 0xA0;
  }
  return sequence >= "\xE2\x80\xAA" && sequence <= "\xE2\x80\xAE" &&
         sequence.size() == 3;
}

std::string Section(const PanelText& text, absl::string_view body) {
  return absl::StrCat("<section class=panel id=", text.id,
                      " aria-labelledby=h-", text.id, "><h2 id=h-", text.id,
                      ">", Escape(text.title), "</h2><p class=shows>",
                      Escape(text.shows), "</p>", body, "</section>\n");
}

}  // namespace

std::string Escape(absl::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  while (!text.empty()) {
    const size_t size = SequenceSize(text);
    const absl::string_view piece = text.substr(0, size == 0 ? 1 : size);
    if (size == 0 || IsInvisible(piece)) {
      absl::StrAppend(&escaped, kReplacement);
    } else if (piece == "&") {
      escaped += "&amp;";
    } else if (piece == "<") {
      escaped += "&lt;";
    } else if (piece == ">") {
      escaped += "&gt;";
    } else if (piece == "\"") {
      escaped += "&quot;";
    } else if (piece == "'") {
      escaped += "&#39;";
    } else {
      absl::StrAppend(&escaped, piece);
    }
    text.remove_prefix(piece.size());
  }
  return escaped;
}

std::string Number(double value, int digits) {
  if (!std::isfinite(value)) return std::string(kNone);
  return absl::StrFormat("%.*f", digits, value);
}

std::string ShortNumber(double value) {
  if (!std::isfinite(value)) return std::string(kNone);
  return absl::StrFormat("%.3g", value);
}

std::string PValue(double p) {
  if (!std::isfinite(p)) return std::string(kNone);
  if (p < 0.001) return "&lt; 0.001";
  return absl::StrFormat("%.*f", p < 0.1 ? 3 : 2, p);
}

std::string WithInterval(double value, double low, double high, int digits) {
  std::string text = Number(value, digits);
  if (std::isfinite(low) && std::isfinite(high)) {
    absl::StrAppend(&text, " <span class=ci>(", Number(low, digits), " to ",
                    Number(high, digits), ")</span>");
  }
  return text;
}

std::string Count(size_t count, absl::string_view noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string Moment(absl::Time time) {
  if (time <= absl::UnixEpoch()) return std::string(kNone);
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", time, absl::UTCTimeZone());
}

std::string Panel(const PanelText& text, absl::string_view body) {
  return Section(text,
                 absl::StrCat("<dl class=guide><div><dt>Normal</dt><dd>",
                              Escape(text.normal),
                              "</dd></div><div><dt>What to do</dt><dd>",
                              Escape(text.action), "</dd></div></dl>", body));
}

std::string EmptyPanel(const PanelText& text, absl::string_view why,
                       absl::string_view how, absl::string_view more) {
  return Section(
      text, absl::StrCat("<div class=absent><p><b>Nothing to show.</b> ", why,
                         "</p><p>", how, "</p></div>", more));
}

std::string Table(absl::string_view caption, absl::string_view head,
                  absl::string_view rows) {
  const std::string text = Escape(caption);
  return absl::StrCat("<div class=scroll role=region tabindex=0 aria-label=\"",
                      text, "\"><table><caption>", text, "</caption><thead>",
                      head, "</thead><tbody>", rows, "</tbody></table></div>");
}

std::string Head(std::initializer_list<absl::string_view> texts) {
  std::string row = "<tr>";
  for (absl::string_view text : texts) {
    const bool number = absl::ConsumePrefix(&text, ">");
    absl::StrAppend(&row,
                    number ? "<th scope=col class=num>" : "<th scope=col>",
                    Escape(text), "</th>");
  }
  return row + "</tr>";
}

}  // namespace fedgraft
