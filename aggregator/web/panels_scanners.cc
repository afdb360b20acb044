#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "aggregator/web/html.h"
#include "aggregator/web/panels.h"
#include "aggregator/web/row_plot.h"

namespace fedgraft {
namespace {

constexpr PanelText kText = {
    "scanners", "Scanners of all sites",
    "How many training images of all sites together come from each "
    "manufacturer's scanners, as their DICOM files tell and the sites' "
    "policies let out. Numbers below 10 are counted with the others.",
    "Several manufacturers: hospitals have different scanners, and a model "
    "that has seen them all is better for it. Sites that do not tell, or whose "
    "images are not DICOM, are in the last line.",
    "Where What differs names covariate shift and says that a site's images "
    "come from other scanners, that explains it. A manufacturer that hardly "
    "any image comes from: watch how well the model does there."};

}  // namespace

std::string ScannersPanel(const Json& report) {
  const Json& scanners = At(report, "scanners");
  const Json& counts = ListAt(scanners, "counts");
  const double all = NumberAt(scanners, "records");
  if (counts.empty() || !(all > 0)) return "";
  std::string rows;
  for (const Json& count : counts) {
    const double records = NumberAt(count, "records");
    const double share = std::clamp(records / all, 0.0, 1.0);
    const std::string title = TextAt(count, "title");
    absl::StrAppend(
        &rows, "<tr><th scope=row>", Escape(title), "</th><td>",
        ShareBar(share, "fed",
                 absl::StrCat(title, ": ", Number(records, 0), " images")),
        "</td><td class=num>", Number(records, 0), "</td><td class=num>",
        Number(100 * share, 1), " %</td></tr>");
  }
  const std::string head = Head({"Manufacturer", "Share", ">Images", ">"});
  return Panel(kText,
               Table(absl::StrCat("Training images by manufacturer, round ",
                                  WholeAt(scanners, "round")),
                     head, rows));
}

}  // namespace fedgraft
