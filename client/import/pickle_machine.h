#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/import/pickle_reader.h"

namespace fedgraft {

// The stack, the memo and the values of one pickle being read: what opcodes do,
// not how they are written down (pickle_reader.cc). After an error it is of no
// more use.
class PickleMachine {
 public:
  absl::Status Push(PickleNode node);
  absl::Status PushNumber(PickleKind kind, int64_t number) {
    return Push({kind, number, {}, {}});
  }
  absl::Status PushText(ByteSpan text);
  // INVALID_ARGUMENT naming it unless it is on the list of allowed names.
  absl::Status PushGlobal(std::string_view module, std::string_view name);
  // The same, of two texts on the stack.
  absl::Status PopGlobal();

  absl::Status Mark();
  // Drops everything above the last mark, or the top.
  absl::Status Drop(bool to_mark);
  // Pops `count` values into a tuple.
  absl::Status MakeTuple(size_t count);
  // The values above the last mark as a new tuple, list or dict.
  absl::Status MakeFromMark(PickleKind kind);
  // One value, or those above the last mark, into the list below.
  absl::Status Append(bool from_mark);
  // One key and value, or those above the last mark, into the dict below.
  absl::Status SetItems(bool from_mark);

  absl::Status Remember(uint32_t slot);
  absl::Status RememberNext() {
    return Remember(static_cast<uint32_t>(memo_.size()));
  }
  absl::Status Recall(uint32_t slot);

  // A call of the allowed name below with the tuple above.
  absl::Status Reduce();
  // What pickle calls the state of an object: ignored for dicts (torch keeps
  // the versions of modules there), refused for everything else.
  absl::Status SetState();
  // The name of a storage.
  absl::Status PersistentId();

  // Text of the global on the stack under `above` others, for messages.
  std::string GlobalName(size_t above) const;
  // REQUIRES: Stop succeeded; once.
  absl::Status Stop();
  Pickled Take() && { return std::move(made_); }

 private:
  absl::Status Need(size_t count) const;
  absl::StatusOr<size_t> PopMark();
  const PickleNode& Node(PickleRef ref) const { return made_.nodes[ref]; }
  PickleNode& Top(size_t below) {
    return made_.nodes[stack_[stack_.size() - 1 - below]];
  }
  PickleRef Pop();
  std::vector<PickleRef> PopFrom(size_t begin);
  absl::Status PushRef(PickleRef ref);
  absl::Status PushTensor(const PickleNode& arguments);
  absl::StatusOr<std::vector<int64_t>> Counts(PickleRef tuple,
                                              std::string_view what) const;

  Pickled made_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;
  std::map<uint32_t, PickleRef> memo_;
};

}  // namespace fedgraft
