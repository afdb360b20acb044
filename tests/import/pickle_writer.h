#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"

namespace fedgraft::testing {

// Writes pickles by opcode, after Python's Lib/pickletools.py.
class PickleWriter {
 public:
  PickleWriter() { out_.U8(0x80).U8(2); }

  PickleWriter& Op(uint8_t opcode) {
    out_.U8(opcode);
    return *this;
  }
  PickleWriter& Raw(std::string_view bytes) {
    out_.Raw(AsBytes(bytes));
    return *this;
  }
  PickleWriter& Text(std::string_view text) {
    out_.U8('X').Sized(text);
    return *this;
  }
  PickleWriter& Int(int64_t value) {
    out_.U8(0x8a).U8(8).U64(static_cast<uint64_t>(value));
    return *this;
  }
  PickleWriter& Global(std::string_view module, std::string_view name) {
    return Op('c').Raw(module).Raw("\n").Raw(name).Raw("\n");
  }
  PickleWriter& Ints(const std::vector<int64_t>& values) {
    Op('(');
    for (const int64_t value : values) Int(value);
    return Op('t');
  }
  PickleWriter& OrderedDict() {
    return Global("collections", "OrderedDict").Op(')').Op('R');
  }
  // `type`: "FloatStorage".
  PickleWriter& Storage(std::string_view type, std::string_view key,
                        int64_t count) {
    Op('(').Text("storage").Global("torch", type).Text(key).Text("cpu");
    return Int(count).Op('t').Op('Q');
  }
  PickleWriter& Tensor(std::string_view type, std::string_view key,
                       int64_t count, int64_t offset,
                       const std::vector<int64_t>& shape,
                       const std::vector<int64_t>& strides) {
    Global("torch._utils", "_rebuild_tensor_v2").Op('(');
    Storage(type, key, count).Int(offset).Ints(shape).Ints(strides);
    return Op(0x89).OrderedDict().Op('t').Op('R');
  }
  Bytes Finish() {
    Op('.');
    return out_.bytes();
  }

 private:
  ByteWriter out_;
};

}  // namespace fedgraft::testing
