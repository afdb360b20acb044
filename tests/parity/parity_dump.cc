// parity_dump ARCHITECTURE STATE INPUT OUT: loads a state_dict (safetensors)
// into our network, applies it to the tensor "input" of INPUT, and writes to
// OUT our own state_dict plus the tensor "logits".

#include <cstdio>
#include <cstring>

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
  network->eval();
  FG_ASSIGN_OR_RETURN(std::vector<float> values, input.ReadFloats("input"));
  torch::NoGradGuard no_grad;
  const torch::Tensor logits = network
                                   ->forward(torch::tensor(values).reshape(
                                       input.tensors().at("input").shape))
                                   .contiguous();
  std::map<std::string, TensorToWrite> out;
  const Bytes own = *EncodeState(*network, {});
  FG_ASSIGN_OR_RETURN(SafetensorsFile file,
                      SafetensorsFile::Parse(own, "own state"));
  for (const auto& [name, view] : file.tensors()) {
    out["state." + name] = {view.dtype, view.shape, view.data};
  }
  out["logits"] = {
      DType::kF32,
      logits.sizes().vec(),
      {static_cast<const uint8_t*>(logits.data_ptr()), logits.nbytes()}};
  FG_ASSIGN_OR_RETURN(Bytes content, EncodeSafetensors(out, {}));
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
