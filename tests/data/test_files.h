#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "client/data/data_source.h"
#include "common/base/bytes.h"
#include "proto/config.pb.h"

// Small input files for the tests of client/data, made without the code under
// test.

namespace fedgraft::testing {

void WriteFile(const std::string& path, ByteSpan content);
inline void WriteFile(const std::string& path, std::string_view text) {
  WriteFile(path, AsBytes(text));
}
Bytes ReadWholeFile(const std::string& path);

// An NPY file of version 1 with the given header text and data.
Bytes NpyWithHeader(const std::string& header, ByteSpan data);
// The same with NumPy's header; `shape` as in "(2, 3)".
Bytes Npy(const std::string& descr, const std::string& shape, ByteSpan data);
// The bytes of little-endian values.
template <typename T>
Bytes Raw(const std::vector<T>& values) {
  const auto* first = reinterpret_cast<const uint8_t*>(values.data());
  return Bytes(first, first + values.size() * sizeof(T));
}
// Members are named with their ".npy".
void WriteNpz(const std::string& path,
              const std::map<std::string, Bytes>& members);

// A picture of `width` x `height` x `channels` (1, 3 or 4: blue, green, red,
// alpha, as OpenCV has them) of 8 or 16 bits, encoded by OpenCV. Value i in
// reading order is i * step, modulo the range.
Bytes Encode(const std::string& extension, int width, int height, int channels,
             int bits, int step);

struct TiffFields {
  uint32_t width = 1, height = 1;
  uint16_t bits = 8, samples = 1, photometric = 1, sample_format = 1;
  bool big_endian = false;
};
// An uncompressed TIFF written by hand; `data` in the file's byte order.
Bytes Tiff(const TiffFields& fields, ByteSpan data);

struct DicomFields {
  std::string transfer_syntax = "1.2.840.10008.1.2.1";  // explicit, little
  uint16_t width = 1, height = 1;
  uint16_t bits = 8, bits_stored = 8, samples = 1;
  std::string photometric = "MONOCHROME2";
  std::string frames = {};  // of the next, empty: the element is left out
  std::string window_center = {}, window_width = {};
  std::string manufacturer = {}, model = {};
  bool has_pixels = true;
};
// A DICOM file written by hand, of a patient SECRET^NAME; `pixels` as they
// stand in it.
Bytes Dicom(const DicomFields& fields, ByteSpan pixels);

// A PNG whose head has these dimensions and a right checksum, with the pixels
// of another.
Bytes PngOfSize(uint32_t width, uint32_t height);

// A configuration with the defaults of proto/config.proto.
pb::DataConfig DefaultConfig(const std::string& kind);
DataContext TwoClasses(DataUse use = DataUse::kTrain);

// The folder of real data, or empty if it is absent.
std::string RealDataFolder();

}  // namespace fedgraft::testing
