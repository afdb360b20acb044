#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

// Pieces of text that a page is made of.

namespace fedgraft {

// For element content and quoted attributes: markup is text, control characters
// and what is not UTF-8 become U+FFFD.
std::string Escape(absl::string_view text);

// "0.914"; an en dash if `value` is not a number.
std::string Number(double value, int digits);
// With as many digits as tell: "0.0123", "1.2e-07".
std::string ShortNumber(double value);
// "0.31", "0.004", "< 0.001"; an en dash if there is none.
std::string PValue(double p);
// "0.914 (0.880 to 0.941)", without brackets if there is no interval.
std::string WithInterval(double value, double low, double high, int digits);
// "1 site", "3 sites".
std::string Count(size_t count, absl::string_view noun);
// "2026-03-01 14:05 UTC"; an en dash for the epoch.
std::string Moment(absl::Time time);

// What a panel tells somebody who has never seen it.
struct PanelText {
  absl::string_view id, title;
  absl::string_view shows;   // what is drawn
  absl::string_view normal;  // what to expect if all is well
  absl::string_view action;  // what to do if not
};
// A section with heading, guide and `body` (HTML).
std::string Panel(const PanelText& text, absl::string_view body);
// The same where there is nothing to show: why, and how to turn it on, both as
// HTML, in place of what is normal and what to do. `more` follows.
std::string EmptyPanel(const PanelText& text, absl::string_view why,
                       absl::string_view how, absl::string_view more = "");

// <table> inside a region that scrolls on narrow screens. `head` and `rows` are
// HTML; `caption` is text, for screen readers too.
std::string Table(absl::string_view caption, absl::string_view head,
                  absl::string_view rows);
// A header row from texts. A text that begins with '>' stands over numbers.
std::string Head(std::initializer_list<absl::string_view> texts);

}  // namespace fedgraft
