#include "tests/data/test_files.h"

#include <zip.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <utility>

#include "common/base/check.h"
#include "google/protobuf/descriptor.h"
#include "proto/options.pb.h"

namespace fedgraft::testing {

void WriteFile(const std::string& path, ByteSpan content) {
  std::filesystem::create_directories(
      std::filesystem::path(path).parent_path());
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(content.data()),
            static_cast<std::streamsize>(content.size()));
  out.close();
  FG_CHECK(out.good());
}

Bytes ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  FG_CHECK(in.good());
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

Bytes NpyWithHeader(const std::string& header, ByteSpan data) {
  ByteWriter out;
  out.Raw(AsBytes("\x93NUMPY")).U8(1).U8(0);
  out.U8(static_cast<uint8_t>(header.size() & 0xFF));
  out.U8(static_cast<uint8_t>(header.size() >> 8));
  out.Raw(AsBytes(header)).Raw(data);
  return std::move(out).Take();
}

Bytes Npy(const std::string& descr, const std::string& shape, ByteSpan data) {
  std::string header = "{'descr': '" + descr +
                       "', 'fortran_order': False, 'shape': " + shape + ", }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  return NpyWithHeader(header + "\n", data);
}

void WriteNpz(const std::string& path,
              const std::map<std::string, Bytes>& members) {
  int code = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code);
  FG_CHECK(archive != nullptr);
  for (const auto& [name, content] : members) {
    zip_source_t* source =
        zip_source_buffer(archive, content.data(), content.size(), 0);
    FG_CHECK(zip_file_add(archive, name.c_str(), source, 0) >= 0);
  }
  FG_CHECK(zip_close(archive) == 0);
}

Bytes Encode(const std::string& extension, int width, int height, int channels,
             int bits, int step) {
  cv::Mat image(height, width,
                CV_MAKETYPE(bits == 8 ? CV_8U : CV_16U, channels));
  const size_t count = image.total() * static_cast<size_t>(channels);
  for (size_t i = 0; i < count; ++i) {
    const size_t value = i * static_cast<size_t>(step);
    if (bits == 8) {
      image.ptr<uint8_t>()[i] = static_cast<uint8_t>(value);
    } else {
      image.ptr<uint16_t>()[i] = static_cast<uint16_t>(value);
    }
  }
  Bytes file;
  FG_CHECK(cv::imencode(extension, image, file));
  return file;
}

namespace {

class TiffWriter {
 public:
  explicit TiffWriter(bool big_endian) : big_endian_(big_endian) {}
  void Int(uint32_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) {
      const int shift = 8 * (big_endian_ ? bytes - 1 - i : i);
      file_.push_back(static_cast<uint8_t>(value >> shift));
    }
  }
  void Entry(uint16_t tag, uint16_t type, uint32_t value) {
    Int(tag, 2);
    Int(type, 2);
    Int(1, 4);
    const int bytes = type == 3 ? 2 : 4;
    Int(value, bytes);
    Int(0, 4 - bytes);
  }
  void Append(ByteSpan data) {
    file_.insert(file_.end(), data.begin(), data.end());
  }
  Bytes Take() { return std::move(file_); }

 private:
  const bool big_endian_;
  Bytes file_;
};

}  // namespace

Bytes Tiff(const TiffFields& fields, ByteSpan data) {
  constexpr uint32_t kEntries = 10, kDirectory = 8;
  constexpr uint32_t kBits = kDirectory + 2 + kEntries * 12 + 4;
  TiffWriter out(fields.big_endian);
  out.Append(AsBytes(fields.big_endian ? "MM" : "II"));
  out.Int(42, 2);
  out.Int(kDirectory, 4);
  out.Int(kEntries, 2);
  out.Entry(256, 4, fields.width);
  out.Entry(257, 4, fields.height);
  if (fields.samples == 1) {
    out.Entry(258, 3, fields.bits);
  } else {  // one value a sample, elsewhere
    out.Int(258, 2);
    out.Int(3, 2);
    out.Int(fields.samples, 4);
    out.Int(kBits, 4);
  }
  out.Entry(259, 3, 1);  // not compressed
  out.Entry(262, 3, fields.photometric);
  out.Entry(273, 4, kBits + 2 * fields.samples);
  out.Entry(277, 3, fields.samples);
  out.Entry(278, 4, fields.height);
  out.Entry(279, 4, static_cast<uint32_t>(data.size()));
  out.Entry(339, 3, fields.sample_format);
  out.Int(0, 4);
  for (int i = 0; i < fields.samples; ++i) out.Int(fields.bits, 2);
  out.Append(data);
  return out.Take();
}

namespace {

// Explicit VR, little endian, padded to even length.
void AddElement(uint32_t tag, std::string_view vr, std::string value,
                Bytes& file) {
  if (value.size() % 2 != 0) value += vr == "UI" || vr == "OB" ? '\0' : ' ';
  const auto add = [&file](uint64_t number, int bytes) {
    for (int i = 0; i < bytes; ++i) file.push_back(uint8_t(number >> (8 * i)));
  };
  add(tag >> 16, 2);
  add(tag & 0xFFFF, 2);
  file.insert(file.end(), vr.begin(), vr.end());
  if (vr == "OB" || vr == "OW") {
    add(0, 2);
    add(value.size(), 4);
  } else {
    add(value.size(), 2);
  }
  file.insert(file.end(), value.begin(), value.end());
}

std::string Short(uint16_t value) {
  return {static_cast<char>(value & 0xFF), static_cast<char>(value >> 8)};
}

}  // namespace

Bytes Dicom(const DicomFields& fields, ByteSpan pixels) {
  constexpr char kClass[] = "1.2.840.10008.5.1.4.1.1.7";
  Bytes meta;
  AddElement(0x00020001, "OB", std::string("\0\1", 2), meta);
  AddElement(0x00020002, "UI", kClass, meta);
  AddElement(0x00020003, "UI", "1.2.3.4", meta);
  AddElement(0x00020010, "UI", fields.transfer_syntax, meta);
  Bytes file(128, 0);
  for (const char c : {'D', 'I', 'C', 'M'}) file.push_back(uint8_t(c));
  const uint32_t size = static_cast<uint32_t>(meta.size());
  AddElement(0x00020000, "UL", Short(uint16_t(size)) + Short(size >> 16), file);
  file.insert(file.end(), meta.begin(), meta.end());
  const auto add_text = [&file](uint32_t tag, std::string_view vr,
                                const std::string& text) {
    if (!text.empty()) AddElement(tag, vr, text, file);
  };
  AddElement(0x00080016, "UI", kClass, file);
  AddElement(0x00080018, "UI", "1.2.3.4", file);
  add_text(0x00080070, "LO", fields.manufacturer);
  add_text(0x00081090, "LO", fields.model);
  AddElement(0x00100010, "PN", "SECRET^NAME", file);
  AddElement(0x00280002, "US", Short(fields.samples), file);
  AddElement(0x00280004, "CS", fields.photometric, file);
  if (fields.samples > 1) AddElement(0x00280006, "US", Short(0), file);
  add_text(0x00280008, "IS", fields.frames);
  AddElement(0x00280010, "US", Short(fields.height), file);
  AddElement(0x00280011, "US", Short(fields.width), file);
  AddElement(0x00280100, "US", Short(fields.bits), file);
  AddElement(0x00280101, "US", Short(fields.bits_stored), file);
  AddElement(0x00280102, "US", Short(fields.bits_stored - 1), file);
  AddElement(0x00280103, "US", Short(0), file);
  add_text(0x00281050, "DS", fields.window_center);
  add_text(0x00281051, "DS", fields.window_width);
  if (fields.has_pixels) {
    AddElement(0x7FE00010, fields.bits > 8 ? "OW" : "OB",
               std::string(AsText(pixels)), file);
  }
  return file;
}

Bytes PngOfSize(uint32_t width, uint32_t height) {
  Bytes file = Encode(".png", 4, 4, 1, 8, 1);
  for (int i = 0; i < 4; ++i) {
    file[16 + i] = static_cast<uint8_t>(width >> (24 - 8 * i));
    file[20 + i] = static_cast<uint8_t>(height >> (24 - 8 * i));
  }
  uint32_t crc = 0xFFFFFFFF;  // CRC-32 of type and data, PNG specification D
  for (int i = 12; i < 29; ++i) {
    crc ^= file[i];
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc & 1 ? 0xEDB88320 ^ (crc >> 1) : crc >> 1;
    }
  }
  crc = ~crc;
  for (int i = 0; i < 4; ++i) {
    file[29 + i] = static_cast<uint8_t>(crc >> (24 - 8 * i));
  }
  return file;
}

namespace {

// What the config loader does for absent keys, for the types that occur here.
void FillDefaults(google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  const auto* type = message.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    using Field = google::protobuf::FieldDescriptor;
    if (field->is_repeated()) continue;
    if (field->cpp_type() == Field::CPPTYPE_MESSAGE) {
      FillDefaults(*reflection->MutableMessage(&message, field));
      continue;
    }
    const std::string& text =
        field->options().GetExtension(pb::check).default_();
    if (text.empty()) continue;
    switch (field->cpp_type()) {
      case Field::CPPTYPE_STRING:
        reflection->SetString(&message, field, text);
        break;
      case Field::CPPTYPE_INT32:
        reflection->SetInt32(&message, field, std::stoi(text));
        break;
      case Field::CPPTYPE_UINT64:
        reflection->SetUInt64(&message, field, std::stoull(text));
        break;
      case Field::CPPTYPE_DOUBLE:
        reflection->SetDouble(&message, field, std::stod(text));
        break;
      default:
        FG_CHECK(false);
    }
  }
}

}  // namespace

pb::DataConfig DefaultConfig(const std::string& kind) {
  pb::DataConfig config;
  FillDefaults(config);
  config.set_kind(kind);
  return config;
}

DataContext TwoClasses(DataUse use) { return {{"benign", "malignant"}, use}; }

std::string RealDataFolder() {
  std::string folder;
  if (const char* data = std::getenv("FEDGRAFT_DATA")) {
    folder = data;
  } else if (const char* source = std::getenv("FEDGRAFT_SOURCE_DIR")) {
    folder = std::string(source) + "/../shared/data";
  }
  return std::filesystem::is_directory(folder) ? folder : "";
}

}  // namespace fedgraft::testing
