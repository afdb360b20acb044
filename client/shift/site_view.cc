#include "client/shift/site_view.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/transfer/packed_symmetric.h"

namespace fedgraft {
namespace {

constexpr int64_t kStandIns = 1000;

}  // namespace

absl::StatusOr<SiteView> SiteView::Create(const Sketch& sketch,
                                          const SiteSketch& site) {
  FG_CHECK(sketch.done());
  const absl::Span<const double> pooled = sketch.summary();
  FG_CHECK(site.sent().size() == pooled.size());
  if (pooled[0] < kSketchSitesMin) {
    return absl::FailedPreconditionError(absl::StrCat(
        "shift tests: expected ", kSketchSitesMin,
        " sites or more, so that the others hide each other, got ", pooled[0]));
  }
  SiteView view(sketch, site);
  view.others_.assign(pooled.begin(), pooled.end());
  for (size_t i = 0; i < view.others_.size(); ++i) {
    view.others_[i] -= site.sent()[i];
  }
  const absl::Status status =
      CheckSketch(sketch.layout(), view.others_, kSketchSitesMin - 1,
                  sketch.spec().noise_multiplier);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the pooled sums do not hold this site's: ",
                     std::string(status.message())));
  }
  view.head_features_ =
      LeadingColumns(view.space(), sketch.space().head_dims());
  const std::vector<double> stand_ins = view.StandIns();
  view.head_ = LeaveOneOutHead(
      sketch.head(), {view.Others("gradient"),
                      view.Others("information"),
                      {stand_ins, kStandIns, sketch.space().head_dims()}});
  if (view.head_.ok()) {
    view.judged_ = JudgeByHead(view.head_features(), *view.head_,
                               view.OthersMean("class_counts"));
  } else {
    view.judged_ = view.head_.status();
  }
  return view;
}

std::vector<double> SiteView::StandIns() const {
  const int64_t k = sketch_.space().head_dims();
  const std::vector<double> mean = OthersMean("space");
  const Eigen::Map<const Eigen::VectorXd> centre(mean.data(), k);
  Eigen::MatrixXd covariance =
      UnpackSymmetric(Others("space_products"), space().columns)
              .topLeftCorner(k, k) /
          others_n() -
      centre * centre.transpose();
  covariance.diagonal().array() += 1e-9;
  const Eigen::LLT<Eigen::MatrixXd> cholesky(covariance);
  if (cholesky.info() != Eigen::Success) return {};
  std::mt19937_64 random(spec().seed);
  std::normal_distribution<double> normal;
  std::vector<double> rows(kStandIns * k);
  for (int64_t r = 0; r < kStandIns; r += 2) {
    Eigen::VectorXd drawn(k);
    for (double& value : drawn) value = normal(random);
    const Eigen::VectorXd away = cholesky.matrixL() * drawn;
    Eigen::Map<Eigen::VectorXd>(rows.data() + r * k, k) = centre + away;
    Eigen::Map<Eigen::VectorXd>(rows.data() + (r + 1) * k, k) = centre - away;
  }
  return rows;
}

MatrixView SiteView::space() const {
  return {site_.space(), n(), sketch_.space().dims()};
}
MatrixView SiteView::embedding() const {
  return {site_.embedding(), n(), kSketchEmbedding};
}
MatrixView SiteView::head_features() const {
  return {head_features_, n(), sketch_.space().head_dims()};
}
absl::Span<const double> SiteView::Own(std::string_view part) const {
  return SketchValues(layout_, site_.summary(), part);
}
absl::Span<const double> SiteView::Others(std::string_view part) const {
  return SketchValues(layout_, others_, part);
}
std::vector<double> SiteView::OthersMean(std::string_view part) const {
  std::vector<double> mean;
  for (double sum : Others(part)) mean.push_back(sum / others_n());
  return mean;
}

}  // namespace fedgraft
