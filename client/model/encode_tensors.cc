#include "client/model/encode_tensors.h"

#include "client/model/network_state.h"
#include "common/model/safetensors.h"

namespace fedgraft {

absl::StatusOr<Bytes> EncodeTensors(
    const std::map<std::string, torch::Tensor>& tensors,
    const std::map<std::string, std::string>& metadata) {
  std::map<std::string, torch::Tensor> host;  // keeps the data alive
  std::map<std::string, TensorToWrite> views;
  for (const auto& [name, tensor] : tensors) {
    torch::Tensor value = tensor.detach().cpu().contiguous();
    host[name] = value;
    views[name] = {
        value.scalar_type() == torch::kInt64 ? DType::kI64 : DType::kF32,
        value.sizes().vec(),
        {static_cast<const uint8_t*>(value.data_ptr()), value.nbytes()}};
  }
  return EncodeSafetensors(views, metadata);
}

absl::StatusOr<Bytes> EncodeBackbone(
    Network& network, const std::map<std::string, std::string>& metadata) {
  std::map<std::string, torch::Tensor> tensors = NamedTensors(network);
  const std::string head = network.head_prefix() + ".";
  std::erase_if(tensors, [&head](const auto& tensor) {
    return tensor.first.starts_with(head);
  });
  return EncodeTensors(tensors, metadata);
}

}  // namespace fedgraft
