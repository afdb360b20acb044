#include "client/import/pickle_machine.h"

#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/import/pickle_names.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kNodesMax = 500'000;
constexpr size_t kTensorsMax = 100'000;
constexpr size_t kMarksMax = 1000;
constexpr size_t kDimensionsMax = 8;
// 2^40 elements: no product of a shape overflows.
constexpr uint64_t kElementsMax = uint64_t{1} << 40;

absl::Status Broken(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the pickle is damaged: ", std::string(what)));
}

absl::Status Refused(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "refused ", what,
      ": expected tensors, numbers, texts and containers only, because "
      "anything else is code to be run; in Python, save with "
      "torch.save(model.state_dict(), FILE)"));
}

absl::Status TooMany(size_t max, std::string_view what) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the pickle has more than ", max, " ", std::string(what)));
}

}  // namespace

absl::Status PickleMachine::Need(size_t count) const {
  // A mark separates what is on the stack.
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() - floor >= count) return absl::OkStatus();
  return Broken("an opcode finds too little on the stack");
}

PickleRef PickleMachine::Pop() {
  const PickleRef ref = stack_.back();
  stack_.pop_back();
  return ref;
}

std::vector<PickleRef> PickleMachine::PopFrom(size_t begin) {
  std::vector<PickleRef> values(stack_.begin() + begin, stack_.end());
  stack_.resize(begin);
  return values;
}

absl::Status PickleMachine::PushRef(PickleRef ref) {
  if (stack_.size() == kNodesMax) return TooMany(kNodesMax, "values");
  stack_.push_back(ref);
  return absl::OkStatus();
}

absl::Status PickleMachine::Push(PickleNode node) {
  if (made_.nodes.size() == kNodesMax) return TooMany(kNodesMax, "values");
  made_.nodes.push_back(std::move(node));
  return PushRef(static_cast<PickleRef>(made_.nodes.size() - 1));
}

absl::Status PickleMachine::PushText(ByteSpan text) {
  return Push({PickleKind::kText, 0, std::string(AsText(text)), {}});
}

absl::Status PickleMachine::PushGlobal(std::string_view module,
                                       std::string_view name) {
  std::string full = absl::StrCat(std::string(module), ".", std::string(name));
  if (!IsAllowedName(full)) {
    return Refused(absl::CHexEscape(full.substr(0, 200)));
  }
  return Push({PickleKind::kGlobal, 0, std::move(full), {}});
}

absl::Status PickleMachine::PopGlobal() {
  FG_RETURN_IF_ERROR(Need(2));
  const PickleNode& name = Node(Pop());
  const PickleNode& module = Node(Pop());
  if (name.kind != PickleKind::kText || module.kind != PickleKind::kText) {
    return Broken("a name that is not a text");
  }
  return PushGlobal(std::string(module.text), std::string(name.text));
}

absl::Status PickleMachine::Mark() {
  if (marks_.size() == kMarksMax) return TooMany(kMarksMax, "open containers");
  marks_.push_back(stack_.size());
  return absl::OkStatus();
}

absl::StatusOr<size_t> PickleMachine::PopMark() {
  if (marks_.empty()) return Broken("a container that was not begun");
  const size_t begin = marks_.back();
  marks_.pop_back();
  return begin;
}

absl::Status PickleMachine::Drop(bool to_mark) {
  if (to_mark) {
    FG_ASSIGN_OR_RETURN(const size_t begin, PopMark());
    stack_.resize(begin);
    return absl::OkStatus();
  }
  FG_RETURN_IF_ERROR(Need(1));
  stack_.pop_back();
  return absl::OkStatus();
}

absl::Status PickleMachine::MakeTuple(size_t count) {
  FG_RETURN_IF_ERROR(Need(count));
  return Push({PickleKind::kTuple, 0, {}, PopFrom(stack_.size() - count)});
}

absl::Status PickleMachine::MakeFromMark(PickleKind kind) {
  FG_ASSIGN_OR_RETURN(const size_t begin, PopMark());
  if (kind == PickleKind::kDict && (stack_.size() - begin) % 2 != 0) {
    return Broken("a key without a value");
  }
  return Push({kind, 0, {}, PopFrom(begin)});
}

absl::Status PickleMachine::Append(bool from_mark) {
  size_t begin = stack_.size() - 1;
  if (from_mark) {
    FG_ASSIGN_OR_RETURN(begin, PopMark());
  } else {
    FG_RETURN_IF_ERROR(Need(1));
  }
  const std::vector<PickleRef> values = PopFrom(begin);
  FG_RETURN_IF_ERROR(Need(1));
  PickleNode& list = Top(0);
  if (list.kind != PickleKind::kList) {
    return Broken(absl::StrCat("elements for a ", PickleKindName(list.kind)));
  }
  list.items.insert(list.items.end(), values.begin(), values.end());
  return absl::OkStatus();
}

absl::Status PickleMachine::SetItems(bool from_mark) {
  size_t begin = 0;
  if (from_mark) {
    FG_ASSIGN_OR_RETURN(begin, PopMark());
  } else {
    FG_RETURN_IF_ERROR(Need(2));
    begin = stack_.size() - 2;
  }
  const std::vector<PickleRef> values = PopFrom(begin);
  if (values.size() % 2 != 0) return Broken("a key without a value");
  FG_RETURN_IF_ERROR(Need(1));
  PickleNode& dict = Top(0);
  if (dict.kind != PickleKind::kDict) {
    return Broken(absl::StrCat("keys for a ", PickleKindName(dict.kind)));
  }
  dict.items.insert(dict.items.end(), values.begin(), values.end());
  return absl::OkStatus();
}

absl::Status PickleMachine::Remember(uint32_t slot) {
  FG_RETURN_IF_ERROR(Need(1));
  memo_[slot] = stack_.back();
  if (memo_.size() > kNodesMax) return TooMany(kNodesMax, "memorised values");
  return absl::OkStatus();
}

absl::Status PickleMachine::Recall(uint32_t slot) {
  const auto found = memo_.find(slot);
  if (found == memo_.end()) {
    return Broken(absl::StrCat("value ", slot, " was never memorised"));
  }
  return PushRef(found->second);
}

std::string PickleMachine::GlobalName(size_t above) const {
  if (stack_.size() <= above) return "?";
  const PickleNode& node = Node(stack_[stack_.size() - 1 - above]);
  return node.kind == PickleKind::kGlobal
             ? node.text
             : absl::StrCat("a ", PickleKindName(node.kind));
}

absl::Status PickleMachine::Reduce() {
  FG_RETURN_IF_ERROR(Need(2));
  const std::string called = GlobalName(1);
  const PickleRef arguments_ref = Pop();
  const PickleKind kind = Node(Pop()).kind;
  if (Node(arguments_ref).kind != PickleKind::kTuple) {
    return Broken("a call without a tuple of arguments");
  }
  // A copy: pushing may move the nodes. Calls have few arguments.
  if (Node(arguments_ref).items.size() > kDimensionsMax) {
    return Refused(absl::StrCat("a call of ", called, " with ",
                                Node(arguments_ref).items.size(),
                                " arguments"));
  }
  const PickleNode arguments = Node(arguments_ref);
  if (kind == PickleKind::kGlobal) {
    if (called == kOrderedDictName && arguments.items.empty()) {
      return Push({PickleKind::kDict, 0, {}, {}});
    }
    if (called == kParameterName && !arguments.items.empty() &&
        Node(arguments.items[0]).kind == PickleKind::kTensor) {
      return PushRef(arguments.items[0]);
    }
    if (IsTensorName(called)) {
      return PushTensor(arguments);
    }
  }
  return Refused(absl::StrCat("a call of ", called, " with ",
                              arguments.items.size(), " arguments"));
}

absl::Status PickleMachine::SetState() {
  FG_RETURN_IF_ERROR(Need(2));
  stack_.pop_back();
  if (Top(0).kind == PickleKind::kDict) return absl::OkStatus();
  return Refused(absl::StrCat("the state of ", GlobalName(0)));
}

// ("storage", torch.FloatStorage, key, device, element count[, None])
absl::Status PickleMachine::PersistentId() {
  FG_RETURN_IF_ERROR(Need(1));
  const PickleNode& id = Node(Pop());
  const auto item = [&](size_t i) -> const PickleNode& {
    return Node(id.items[i]);
  };
  const bool is_tuple = id.kind == PickleKind::kTuple && id.items.size() >= 5 &&
                        id.items.size() <= 6;
  if (!is_tuple || item(0).kind != PickleKind::kText ||
      item(0).text != "storage" || item(1).kind != PickleKind::kGlobal ||
      item(2).kind != PickleKind::kText || item(4).kind != PickleKind::kInt ||
      item(4).number < 0 ||
      (id.items.size() == 6 && item(5).kind != PickleKind::kNone)) {
    return Refused("a persistent object that is not a storage");
  }
  const std::optional<ElementType> type = StorageTypeNamed(item(1).text);
  if (!type) return Refused(absl::StrCat("a storage of ", item(1).text));
  const auto count = static_cast<uint64_t>(item(4).number);
  if (count > kElementsMax) return TooMany(kElementsMax, "elements");
  if (made_.storages.size() == kTensorsMax) {
    return TooMany(kTensorsMax, "storages");
  }
  made_.storages.push_back({*type, item(2).text, count});
  return PushNumber(PickleKind::kStorage,
                    static_cast<int64_t>(made_.storages.size() - 1));
}

absl::StatusOr<std::vector<int64_t>> PickleMachine::Counts(
    PickleRef tuple, std::string_view what) const {
  const PickleNode& node = Node(tuple);
  std::vector<int64_t> counts;
  if (node.kind == PickleKind::kTuple && node.items.size() <= kDimensionsMax) {
    for (const PickleRef ref : node.items) {
      if (Node(ref).kind != PickleKind::kInt || Node(ref).number < 0 ||
          Node(ref).number > static_cast<int64_t>(kElementsMax)) {
        break;
      }
      counts.push_back(Node(ref).number);
    }
    if (counts.size() == node.items.size()) return counts;
  }
  return Broken(absl::StrCat("a tensor whose ", std::string(what),
                             " is not a tuple of up to ", kDimensionsMax,
                             " counts"));
}

// (storage, offset, shape, strides, …); what follows concerns gradients.
absl::Status PickleMachine::PushTensor(const PickleNode& arguments) {
  if (arguments.items.size() < 4 ||
      Node(arguments.items[0]).kind != PickleKind::kStorage ||
      Node(arguments.items[1]).kind != PickleKind::kInt ||
      Node(arguments.items[1]).number < 0) {
    return Broken("a tensor without storage and offset");
  }
  if (made_.tensors.size() == kTensorsMax) {
    return TooMany(kTensorsMax, "tensors");
  }
  PickledTensor tensor;
  tensor.storage =
      made_.storages[static_cast<size_t>(Node(arguments.items[0]).number)];
  tensor.offset = static_cast<uint64_t>(Node(arguments.items[1]).number);
  FG_ASSIGN_OR_RETURN(tensor.shape, Counts(arguments.items[2], "shape"));
  FG_ASSIGN_OR_RETURN(tensor.strides, Counts(arguments.items[3], "strides"));
  if (tensor.shape.size() != tensor.strides.size()) {
    return Broken("a tensor with another number of strides than dimensions");
  }
  uint64_t count = 1;
  for (const int64_t dimension : tensor.shape) {
    if (dimension > 0 &&
        count > kElementsMax / static_cast<uint64_t>(dimension)) {
      return TooMany(kElementsMax, "elements in a tensor");
    }
    count *= static_cast<uint64_t>(dimension);
  }
  // The last element that is reached; all before it are nearer to the offset.
  const uint64_t size = tensor.storage.count;
  uint64_t reach = tensor.offset;
  bool inside = count == 0 || reach < size;
  for (size_t d = 0; inside && count > 0 && d < tensor.shape.size(); ++d) {
    const auto steps = static_cast<uint64_t>(tensor.shape[d] - 1);
    const auto stride = static_cast<uint64_t>(tensor.strides[d]);
    inside = steps == 0 || stride <= (size - 1 - reach) / steps;
    if (inside) reach += steps * stride;
  }
  if (!inside) {
    return Broken(absl::StrCat("a tensor that reaches outside the ", size,
                               " elements of storage ",
                               absl::CHexEscape(tensor.storage.key)));
  }
  made_.tensors.push_back(std::move(tensor));
  return PushNumber(PickleKind::kTensor,
                    static_cast<int64_t>(made_.tensors.size() - 1));
}

absl::Status PickleMachine::Stop() {
  FG_RETURN_IF_ERROR(Need(1));
  if (!marks_.empty() || stack_.size() != 1) {
    return Broken("it ends inside a container");
  }
  made_.root = stack_[0];
  return absl::OkStatus();
}

}  // namespace fedgraft
