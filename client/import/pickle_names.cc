#include "client/import/pickle_names.h"

#include "client/import/pickle_reader.h"

namespace fedgraft {
namespace {

struct StorageName {
  std::string_view name;
  ElementType type;
};
constexpr StorageName kStorages[] = {
    {"torch.DoubleStorage", ElementType::kF64},
    {"torch.FloatStorage", ElementType::kF32},
    {"torch.HalfStorage", ElementType::kF16},
    {"torch.BFloat16Storage", ElementType::kBF16},
    {"torch.LongStorage", ElementType::kI64},
    {"torch.IntStorage", ElementType::kI32},
    {"torch.ShortStorage", ElementType::kI16},
    {"torch.CharStorage", ElementType::kI8},
    {"torch.ByteStorage", ElementType::kU8},
    {"torch.BoolStorage", ElementType::kBool}};

}  // namespace

bool IsTensorName(std::string_view name) {
  return name == "torch._utils._rebuild_tensor_v2" ||
         name == "torch._utils._rebuild_tensor";
}

std::optional<ElementType> StorageTypeNamed(std::string_view name) {
  for (const StorageName& storage : kStorages) {
    if (storage.name == name) return storage.type;
  }
  return std::nullopt;
}

bool IsAllowedName(std::string_view name) {
  return name == kOrderedDictName || name == kParameterName ||
         IsTensorName(name) || StorageTypeNamed(name).has_value();
}

const char* PickleKindName(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "bool";
    case PickleKind::kInt:
      return "int";
    case PickleKind::kFloat:
      return "float";
    case PickleKind::kText:
      return "str";
    case PickleKind::kTuple:
      return "tuple";
    case PickleKind::kList:
      return "list";
    case PickleKind::kDict:
      return "dict";
    case PickleKind::kGlobal:
      return "class or function";
    case PickleKind::kStorage:
      return "storage";
    case PickleKind::kTensor:
      break;
  }
  return "tensor";
}

}  // namespace fedgraft
