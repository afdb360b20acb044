#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/import/checkpoint.h"
#include "common/base/bytes.h"

namespace fedgraft {

struct ImportOptions {
  std::string architecture;
  // Taken from the start of the names that have it, before the rest.
  std::string strip_prefix;
  // OLD, NEW: the first OLD in each name becomes NEW, in this order.
  std::vector<std::pair<std::string, std::string>> renames;
  // The name of the checkpoint's classifier, if it is not the architecture's.
  std::string head_prefix;
  // Of the checkpoint's first convolution: 3, or 1, which becomes 3 with a
  // third of each weight: the same outputs for grey images, which are repeated
  // to three channels.
  int input_channels = 3;
};

struct ImportedBackbone {
  Bytes safetensors;  // F32 (counters I64), torchvision's names
  size_t num_tensors = 0;
  // What was done, for people: "old -> new", "name [shape]", …
  std::vector<std::string> renamed, dropped, converted;
};

// Makes a backbone file of a checkpoint. F64, F16 and BF16 become F32. A
// classifier of the usual shape is kept, under the architecture's name and for
// whatever number of classes it has, any other is dropped: plans make a head of
// their own in either case.
//
// INVALID_ARGUMENT: an architecture that is not known; missing, unexpected and
// misshapen tensors, all listed, with the option that would mend it where one
// would; a rename that changes nothing, or two names that become one; a value
// that is not finite. Else as Checkpoint::Read.
absl::StatusOr<ImportedBackbone> ImportBackbone(Checkpoint& checkpoint,
                                                const ImportOptions& options);

}  // namespace fedgraft
