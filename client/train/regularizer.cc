#include "client/train/regularizer.h"

#include <string>
#include <utility>

namespace fedgraft {
namespace {

// sum over terms of coefficient / 2 * sum strength (parameter - anchor)^2.
class QuadraticPull : public Regularizer {
 public:
  struct Term {
    torch::Tensor parameter;
    double coefficient = 0;
    torch::Tensor anchor;    // undefined: 0
    torch::Tensor strength;  // undefined: 1
  };
  QuadraticPull(std::string name, std::vector<Term> terms)
      : name_(std::move(name)), terms_(std::move(terms)) {}

  std::string_view name() const override { return name_; }

  torch::Tensor Penalty() const override {
    torch::Tensor sum;
    for (const Term& term : terms_) {
      const torch::Tensor offset = Offset(term, term.parameter);
      const torch::Tensor penalty =
          (Pull(term, offset) * offset).sum() * (term.coefficient / 2);
      sum = sum.defined() ? sum + penalty : penalty;
    }
    return sum;
  }

  void AddGradient() const override {
    torch::NoGradGuard no_grad;
    for (const Term& term : terms_) {
      torch::Tensor parameter = term.parameter;
      const torch::Tensor pull = Pull(term, Offset(term, parameter.detach()));
      if (parameter.grad().defined()) {
        parameter.mutable_grad().add_(pull, term.coefficient);
      } else {
        parameter.mutable_grad() = pull * term.coefficient;
      }
    }
  }

 private:
  static torch::Tensor Offset(const Term& term, const torch::Tensor& at) {
    return term.anchor.defined() ? at - term.anchor : at;
  }
  static torch::Tensor Pull(const Term& term, const torch::Tensor& offset) {
    return term.strength.defined() ? offset * term.strength : offset;
  }

  const std::string name_;
  const std::vector<Term> terms_;
};

std::unique_ptr<Regularizer> PullOf(const char* name,
                                    std::vector<QuadraticPull::Term> terms) {
  if (terms.empty()) return nullptr;
  return std::make_unique<QuadraticPull>(name, std::move(terms));
}

// Every parameter that has an anchor.
std::vector<QuadraticPull::Term> TermsTo(const TrainedParameters& parameters,
                                         const NamedValues& anchors,
                                         double coefficient) {
  std::vector<QuadraticPull::Term> terms;
  if (!(coefficient > 0)) return terms;
  for (const TrainedParameter& parameter : parameters) {
    const auto anchor = anchors.find(parameter.name);
    if (anchor == anchors.end()) continue;
    terms.push_back({parameter.value, coefficient, anchor->second, {}});
  }
  return terms;
}

// Li, Grandvalet and Davoine, "Explicit Inductive Bias for Transfer Learning
// with Convolutional Networks", 2018, equation 3.
std::unique_ptr<Regularizer> MakeL2Sp(const Plan& plan,
                                      const TrainedParameters& parameters,
                                      const Anchors& anchors) {
  std::vector<QuadraticPull::Term> terms =
      TermsTo(parameters, anchors.pretrained, plan.regularizers.l2_sp_alpha);
  const double beta = plan.regularizers.l2_sp_beta;
  for (const TrainedParameter& parameter : parameters) {
    if (parameter.depth == 0 && beta > 0) {
      terms.push_back({parameter.value, beta, {}, {}});
    }
  }
  return PullOf("l2_sp", std::move(terms));
}

// Li et al., "Federated Optimization in Heterogeneous Networks", 2020,
// equation 2.
std::unique_ptr<Regularizer> MakeFedProx(const Plan& plan,
                                         const TrainedParameters& parameters,
                                         const Anchors& anchors) {
  return PullOf("fed_prox", TermsTo(parameters, anchors.round_start,
                                    plan.regularizers.fed_prox_mu));
}

// Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks",
// 2017, equation 3.
std::unique_ptr<Regularizer> MakeEwc(const Plan& plan,
                                     const TrainedParameters& parameters,
                                     const Anchors& anchors) {
  std::vector<QuadraticPull::Term> terms;
  if (!(plan.regularizers.ewc_lambda > 0)) return nullptr;
  for (const TrainedParameter& parameter : parameters) {
    const auto anchor = anchors.run_start.find(parameter.name);
    const auto fisher = anchors.fisher.find(parameter.name);
    if (anchor == anchors.run_start.end() || fisher == anchors.fisher.end()) {
      continue;
    }
    terms.push_back({parameter.value, plan.regularizers.ewc_lambda,
                     anchor->second, fisher->second});
  }
  return PullOf("ewc", std::move(terms));
}

// Li et al., "Ditto: Fair and Robust Federated Learning Through
// Personalization", 2021, equation 1.
std::unique_ptr<Regularizer> MakeDitto(const Plan& plan,
                                       const TrainedParameters& parameters,
                                       const Anchors& anchors) {
  return PullOf(
      "ditto", TermsTo(parameters, anchors.shared, plan.personal.ditto_lambda));
}

}  // namespace

const std::vector<RegularizerFactory>& RegularizerFactories() {
  static const auto* factories =
      new std::vector<RegularizerFactory>{{"l2_sp", MakeL2Sp},
                                          {"fed_prox", MakeFedProx},
                                          {"ewc", MakeEwc},
                                          {"ditto", MakeDitto}};
  return *factories;
}

std::vector<std::unique_ptr<Regularizer>> MakeRegularizers(
    const Plan& plan, const TrainedParameters& parameters,
    const Anchors& anchors) {
  std::vector<std::unique_ptr<Regularizer>> made;
  for (const RegularizerFactory& factory : RegularizerFactories()) {
    auto regularizer = factory.make(plan, parameters, anchors);
    if (regularizer != nullptr) made.push_back(std::move(regularizer));
  }
  return made;
}

}  // namespace fedgraft
