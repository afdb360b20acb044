#include "client/import/pickle_reader.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/import/pickle_machine.h"
#include "common/base/status_macros.h"

// Opcodes: Python's Lib/pickletools.py.

namespace fedgraft {
namespace {

constexpr size_t kPickleBytesMax = size_t{16} << 20;

absl::Status Truncated() {
  return absl::InvalidArgumentError("the pickle is damaged: it ends too early");
}

// Takes little-endian numbers and lines from the front.
class Input {
 public:
  explicit Input(ByteSpan data) : rest_(data), size_(data.size()) {}

  size_t position() const { return size_ - rest_.size(); }

  absl::StatusOr<ByteSpan> Take(uint64_t count) {
    if (count > rest_.size()) return Truncated();
    const ByteSpan taken = rest_.first(static_cast<size_t>(count));
    rest_.remove_prefix(static_cast<size_t>(count));
    return taken;
  }
  absl::StatusOr<uint64_t> Number(size_t width) {
    FG_ASSIGN_OR_RETURN(const ByteSpan bytes, Take(width));
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;) value = value << 8 | bytes[i];
    return value;
  }
  // Bytes behind a count of `width` bytes.
  absl::StatusOr<ByteSpan> Sized(size_t width) {
    FG_ASSIGN_OR_RETURN(const uint64_t count, Number(width));
    return Take(count);
  }
  // Up to the next line end, which is dropped.
  absl::StatusOr<std::string_view> Line() {
    const size_t end = AsText(rest_).find('\n');
    if (end == std::string_view::npos) return Truncated();
    const std::string_view line = AsText(rest_).substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

 private:
  ByteSpan rest_;
  const size_t size_;
};

int64_t SignExtend(uint64_t value, size_t width) {
  if (width == 0) return 0;
  const size_t unused = 64 - 8 * width;
  return static_cast<int64_t>(value << unused) >> unused;
}

class Reader {
 public:
  explicit Reader(ByteSpan data) : in_(data) {}

  absl::StatusOr<Pickled> Read() {
    FG_ASSIGN_OR_RETURN(const uint64_t first, in_.Number(1));
    FG_ASSIGN_OR_RETURN(const uint64_t protocol, in_.Number(1));
    if (first != 0x80 || protocol < 2 || protocol > 5) {
      return absl::InvalidArgumentError(
          "expected a pickle of protocol 2 to 5, found something else");
    }
    while (true) {
      FG_ASSIGN_OR_RETURN(const uint64_t opcode, in_.Number(1));
      if (opcode == '.') break;
      FG_RETURN_IF_ERROR(Do(static_cast<uint8_t>(opcode)));
    }
    FG_RETURN_IF_ERROR(machine_.Stop());
    Pickled made = std::move(machine_).Take();
    made.size_bytes = in_.position();
    return made;
  }

 private:
  absl::Status Do(uint8_t opcode) {
    for (const auto group :
         {&Reader::DoScalar, &Reader::DoText, &Reader::DoContainer,
          &Reader::DoMemo, &Reader::DoCall}) {
      const std::optional<absl::Status> done = (this->*group)(opcode);
      if (done) return *done;
    }
    return RefuseOpcode(opcode);
  }

  absl::Status Integer(size_t width, bool is_signed) {
    FG_ASSIGN_OR_RETURN(const uint64_t value, in_.Number(width));
    return machine_.PushNumber(
        PickleKind::kInt,
        is_signed ? SignExtend(value, width) : static_cast<int64_t>(value));
  }
  absl::Status LongInteger() {
    FG_ASSIGN_OR_RETURN(const uint64_t width, in_.Number(1));
    if (width > 8) {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected integers of at most 8 bytes, found one of ", width));
    }
    return Integer(static_cast<size_t>(width), true);
  }
  absl::Status Text(size_t width) {
    FG_ASSIGN_OR_RETURN(const ByteSpan text, in_.Sized(width));
    return machine_.PushText(text);
  }
  absl::Status Skip(size_t count) { return in_.Take(count).status(); }
  absl::Status Global() {
    FG_ASSIGN_OR_RETURN(const std::string_view module, in_.Line());
    FG_ASSIGN_OR_RETURN(const std::string_view name, in_.Line());
    return machine_.PushGlobal(module, name);
  }
  absl::Status Memo(size_t width, bool recall) {
    FG_ASSIGN_OR_RETURN(const uint64_t slot, in_.Number(width));
    return recall ? machine_.Recall(static_cast<uint32_t>(slot))
                  : machine_.Remember(static_cast<uint32_t>(slot));
  }

  // Each group answers nullopt to an opcode of another.
  std::optional<absl::Status> DoScalar(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        return machine_.PushNumber(PickleKind::kNone, 0);
      case 0x88:  // NEWTRUE
        return machine_.PushNumber(PickleKind::kBool, 1);
      case 0x89:  // NEWFALSE
        return machine_.PushNumber(PickleKind::kBool, 0);
      case 'K':  // BININT1
        return Integer(1, false);
      case 'M':  // BININT2
        return Integer(2, false);
      case 'J':  // BININT
        return Integer(4, true);
      case 0x8a:  // LONG1
        return LongInteger();
      case 'G': {  // BINFLOAT
        const absl::Status skipped = Skip(8);
        return skipped.ok() ? machine_.PushNumber(PickleKind::kFloat, 0)
                            : skipped;
      }
      default:
        return std::nullopt;
    }
  }
  std::optional<absl::Status> DoText(uint8_t opcode) {
    switch (opcode) {
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING, of Python 2
        return Text(1);
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING, of Python 2
        return Text(4);
      case 0x8d:  // BINUNICODE8
        return Text(8);
      default:
        return std::nullopt;
    }
  }
  std::optional<absl::Status> DoContainer(uint8_t opcode) {
    switch (opcode) {
      case '(':
        return machine_.Mark();
      case ')':
        return machine_.MakeTuple(0);
      case 0x85:
      case 0x86:
      case 0x87:  // TUPLE1 to TUPLE3
        return machine_.MakeTuple(opcode - 0x84u);
      case 't':
        return machine_.MakeFromMark(PickleKind::kTuple);
      case 'l':
        return machine_.MakeFromMark(PickleKind::kList);
      case 'd':
        return machine_.MakeFromMark(PickleKind::kDict);
      case ']':
        return machine_.PushNumber(PickleKind::kList, 0);
      case '}':
        return machine_.PushNumber(PickleKind::kDict, 0);
      case 'a':
        return machine_.Append(false);
      case 'e':
        return machine_.Append(true);
      case 's':
        return machine_.SetItems(false);
      case 'u':
        return machine_.SetItems(true);
      case '0':  // POP
        return machine_.Drop(false);
      case '1':  // POP_MARK
        return machine_.Drop(true);
      default:
        return std::nullopt;
    }
  }
  std::optional<absl::Status> DoMemo(uint8_t opcode) {
    switch (opcode) {
      case 'q':
        return Memo(1, false);
      case 'r':
        return Memo(4, false);
      case 0x94:  // MEMOIZE
        return machine_.RememberNext();
      case 'h':
        return Memo(1, true);
      case 'j':
        return Memo(4, true);
      case 0x95:  // FRAME: a size, of no meaning here
        return Skip(8);
      default:
        return std::nullopt;
    }
  }
  std::optional<absl::Status> DoCall(uint8_t opcode) {
    switch (opcode) {
      case 'c':
        return Global();
      case 0x93:  // STACK_GLOBAL
        return machine_.PopGlobal();
      case 'R':
        return machine_.Reduce();
      case 'b':  // BUILD
        return machine_.SetState();
      case 'Q':  // BINPERSID
        return machine_.PersistentId();
      default:
        return std::nullopt;
    }
  }

  absl::Status RefuseOpcode(uint8_t opcode) {
    std::string what = absl::StrFormat("opcode 0x%02x", opcode);
    if (opcode == 'i') {  // INST
      const absl::StatusOr<std::string_view> module = in_.Line();
      const absl::StatusOr<std::string_view> name = in_.Line();
      if (module.ok() && name.ok()) {
        what = absl::StrCat("an instance of ",
                            absl::CHexEscape(absl::StrCat(
                                std::string(module->substr(0, 100)), ".",
                                std::string(name->substr(0, 100)))));
      }
    } else if (opcode == 'o' || opcode == 0x81 || opcode == 0x92) {
      // OBJ, NEWOBJ and NEWOBJ_EX: the class is below the arguments.
      what = absl::StrCat("an instance of ",
                          machine_.GlobalName(opcode == 0x92 ? 2 : 1));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("refused ", what, " at byte ", in_.position(),
                     ": expected tensors, numbers, texts and containers only"));
  }

  Input in_;
  PickleMachine machine_;
};

}  // namespace

absl::StatusOr<Pickled> ReadPickle(ByteSpan data) {
  return Reader(data.first(std::min(data.size(), kPickleBytesMax))).Read();
}

}  // namespace fedgraft
