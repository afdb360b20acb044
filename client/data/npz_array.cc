#include "client/data/npz_array.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/status_macros.h"

namespace fedgraft {

absl::Status NpzExpected(std::string_view name, std::string_view what,
                         const NpyHeader& header) {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(name), ": expected ", std::string(what),
                   ", found ", header.ToString()));
}

absl::StatusOr<NpzArray> OpenNpzArray(const ZipArchive& archive,
                                      const std::string& name) {
  FG_ASSIGN_OR_RETURN(ZipMember member, archive.OpenMember(name + ".npy"));
  auto header = ReadNpyHeader(
      [&member](absl::Span<uint8_t> out) { return member.Read(out); });
  if (!header.ok()) return Annotate(header.status(), name);
  const uint64_t declared = header->header_bytes + header->data_bytes;
  if (declared != member.size_bytes()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", header->ToString(), " needs ", declared,
                     " bytes, but the archive has ", member.size_bytes()));
  }
  return NpzArray{name, std::move(member), *std::move(header)};
}

absl::StatusOr<std::vector<int64_t>> ReadNpzIntegers(const ZipArchive& archive,
                                                     const std::string& name) {
  FG_ASSIGN_OR_RETURN(NpzArray array, OpenNpzArray(archive, name));
  const NpyHeader& header = array.header;
  const bool column = header.shape.size() == 1 ||
                      (header.shape.size() == 2 && header.shape[1] == 1);
  if (header.kind == 'f' || !column || header.shape[0] > kNpzRowsMax) {
    return NpzExpected(name, "integers of shape (N) or (N, 1)", header);
  }
  Bytes data(header.data_bytes);
  FG_RETURN_IF_ERROR(array.member.Read(absl::MakeSpan(data)));
  FG_RETURN_IF_ERROR(array.member.Finish());
  std::vector<int64_t> values(header.shape[0]);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = NpyInteger(header, data, i);
  }
  return values;
}

absl::Status CheckNpzCount(const std::string& name, size_t found,
                           uint64_t expected) {
  if (found == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, ": expected one value for each of ", expected,
                   " images, found ", found));
}

absl::Status CheckNpzLabels(const std::string& name,
                            const std::vector<int64_t>& labels,
                            size_t num_classes) {
  const int64_t label_max = static_cast<int64_t>(num_classes) - 1;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] <= label_max) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, "[", i, "]: expected a label 0 to ", label_max,
                     ", found ", labels[i]));
  }
  return absl::OkStatus();
}

}  // namespace fedgraft
