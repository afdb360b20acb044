// parity_dump ARCHITECTURE STATE INPUT OUT: loads a state_dict (safetensors)
// into our network, applies it to the tensor "input" of INPUT, and writes to
// OUT our own state_dict ("state.*") plus the tensor "logits". Then takes one
// step of SGD with momentum in training mode on "labels", and writes
// "stepped.*" and "stepped_logits" likewise.

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/model/network_state.h"
#include "common/base/status_macros.h"
#include "common/model/trainable_set.h"

namespace fedgraft {
namespace {

absl::Status Write(const char* path, const Bytes& content) {
  std::FILE* file = std::fopen(path, "wb");
  if (file == nullptr) return absl::InternalError("cannot write the result");
  const size_t written = std::fwrite(content.data(), 1, content.size(), file);
  if (std::fclose(file) != 0 || written != content.size()) {
    return absl::InternalError("cannot write the result");
  }
  return absl::OkStatus();
}

constexpr double kLearningRate = 0.01, kMomentum = 0.9;

// Tensors to write, and what they view.
struct Result {
  std::map<std::string, TensorToWrite> tensors;
  std::vector<torch::Tensor> kept;
  std::vector<SafetensorsFile> states;

  absl::Status AddState(const std::string& prefix, Network& network) {
    FG_ASSIGN_OR_RETURN(Bytes bytes, EncodeState(network, {}));
    FG_ASSIGN_OR_RETURN(SafetensorsFile file,
                        SafetensorsFile::Parse(std::move(bytes), "own state"));
    for (const auto& [name, view] : file.tensors()) {
      tensors[prefix + name] = {view.dtype, view.shape, view.data};
    }
    states.push_back(std::move(file));
    return absl::OkStatus();
  }
  void Add(const std::string& name, torch::Tensor tensor) {
    kept.push_back(tensor.contiguous());
    const torch::Tensor& value = kept.back();
    tensors[name] = {
        DType::kF32,
        value.sizes().vec(),
        {static_cast<const uint8_t*>(value.data_ptr()), value.nbytes()}};
  }
};

absl::StatusOr<torch::Tensor> Read(const SafetensorsFile& file,
                                   const std::string& name) {
  FG_ASSIGN_OR_RETURN(std::vector<float> values, file.ReadFloats(name));
  return torch::tensor(values).reshape(file.tensors().at(name).shape);
}

torch::Tensor Apply(Network& network, const torch::Tensor& images) {
  torch::NoGradGuard no_grad;
  network.eval();
  return network.forward(images);
}

void Step(Network& network, const torch::Tensor& images,
          const torch::Tensor& labels) {
  torch::optim::SGD optimizer(
      network.parameters(),
      torch::optim::SGDOptions(kLearningRate).momentum(kMomentum));
  network.train();
  torch::nn::functional::cross_entropy(network.forward(images), labels)
      .backward();
  optimizer.step();
}

absl::Status Run(char** arguments) {
  FG_ASSIGN_OR_RETURN(SafetensorsFile state,
                      SafetensorsFile::Open(arguments[2]));
  FG_ASSIGN_OR_RETURN(SafetensorsFile input,
                      SafetensorsFile::Open(arguments[3]));
  const Architecture architecture = *FindArchitecture(arguments[1]);
  const std::string bias = architecture.head_prefix + ".bias";
  FG_ASSIGN_OR_RETURN(
      std::shared_ptr<Network> network,
      BuildModel(arguments[1], state.tensors().at(bias).shape[0]));
  FG_RETURN_IF_ERROR(LoadState(state, HeadPolicy::kRequire, *network));
  FG_ASSIGN_OR_RETURN(const torch::Tensor images, Read(input, "input"));
  FG_ASSIGN_OR_RETURN(const torch::Tensor labels, Read(input, "labels"));
  Result result;
  result.Add("logits", Apply(*network, images));
  FG_RETURN_IF_ERROR(result.AddState("state.", *network));
  Step(*network, images, labels.to(torch::kInt64));
  result.Add("stepped_logits", Apply(*network, images));
  FG_RETURN_IF_ERROR(result.AddState("stepped.", *network));
  FG_ASSIGN_OR_RETURN(Bytes content, EncodeSafetensors(result.tensors, {}));
  return Write(arguments[4], content);
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: parity_dump ARCHITECTURE STATE INPUT OUT\n");
    return 2;
  }
  const absl::Status status = fedgraft::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
