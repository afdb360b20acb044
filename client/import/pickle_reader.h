#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/import/element_type.h"
#include "common/base/bytes.h"

// Python's pickle format as far as torch.save needs it for a state_dict. A
// pickle is a program; this machine runs only the part of it that makes data.

namespace fedgraft {

// An array of numbers that lies outside the pickle and is named in it.
struct PickledStorage {
  ElementType type = ElementType::kF32;
  std::string key;
  uint64_t count = 0;  // elements
};

// A view of a storage. Invariant: every element of it lies in the storage.
struct PickledTensor {
  PickledStorage storage;
  uint64_t offset = 0;  // in elements, as the strides
  std::vector<int64_t> shape, strides;
};

enum class PickleKind {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kTuple,
  kList,
  kDict,
  kGlobal,  // one of the few names that are allowed
  kStorage,
  kTensor
};
const char* PickleKindName(PickleKind kind);

// An index into Pickled::nodes.
using PickleRef = uint32_t;

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  // kBool, kInt: the value. kStorage, kTensor: index into the list of that
  // name. kFloat has none: nobody asks for it.
  int64_t number = 0;
  std::string text;  // kText; kGlobal: "module.name"
  // kTuple, kList: elements. kDict: key, value, key, value … A node may hold
  // itself.
  std::vector<PickleRef> items;
};

struct Pickled {
  std::vector<PickleNode> nodes;
  std::vector<PickledStorage> storages;
  std::vector<PickledTensor> tensors;
  PickleRef root = 0;
  size_t size_bytes = 0;  // of the pickle; more may follow it
};

// Reads one pickle (protocols 2 to 5) from the start of `data`. Made are:
// tensors and parameters as torch._utils rebuilds them, dict, OrderedDict,
// list, tuple, text, int, float, bool, None. Nothing is looked up, imported or
// called.
//
// INVALID_ARGUMENT: not a pickle, or one that asks for anything else, which the
// message names (as "posix.system"); a tensor that reaches outside its storage.
// RESOURCE_EXHAUSTED: above 16 MiB, 500,000 values, 100,000 tensors, 8
// dimensions or 1,000 open containers.
absl::StatusOr<Pickled> ReadPickle(ByteSpan data);

}  // namespace fedgraft
