#include "client/data/dicom_image.h"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dccodec.h>
#include <dcmtk/dcmdata/dcdeftag.h>
#include <dcmtk/dcmdata/dcfilefo.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcmetinf.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcxfer.h>
#include <dcmtk/dcmimage/diregist.h>
#include <dcmtk/dcmimgle/dcmimage.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/data/image_size.h"
#include "common/base/status_macros.h"

namespace fedgraft {
namespace {

constexpr size_t kPreambleBytes = 128;
constexpr std::string_view kMark = "DICM";
// Of a name, as DICOM allows.
constexpr size_t kNameMax = 64;
// Of a rendered value.
constexpr int kBitsMax = 16;

// DCMTK keeps its decoders, and where its log goes, per process.
void PrepareDcmtk() {
  static std::once_flag once;
  std::call_once(once, [] {
    // It would log names and values of the files.
    OFLog::configure(OFLogger::OFF_LOG_LEVEL);
    DcmRLEDecoderRegistration::registerCodecs();
    DJDecoderRegistration::registerCodecs();
    DJLSDecoderRegistration::registerCodecs();
  });
}

absl::Status Wrong(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("DICOM file: ", std::string(what)));
}

absl::Status Unreadable(const OFCondition& condition) {
  return Wrong(absl::StrCat("expected a whole data set, found it corrupt or ",
                            "cut short (", condition.text(), ")"));
}

void Open(ByteSpan file, DcmInputBufferStream& stream) {
  stream.setBuffer(file.data(), static_cast<offile_off_t>(file.size()));
  stream.setEos();
}

// Before the data set is read: a deflated one may be of any size.
absl::Status CheckSyntax(ByteSpan file) {
  DcmInputBufferStream stream;
  Open(file, stream);
  DcmMetaInfo meta;
  meta.transferInit();
  const OFCondition read = meta.read(stream);
  meta.transferEnd();
  OFString uid;
  if (read.bad()) return Unreadable(read);
  if (meta.findAndGetOFString(DCM_TransferSyntaxUID, uid).bad()) {
    return Wrong("expected a transfer syntax, found none");
  }
  const DcmXfer found(uid.c_str());
  switch (found.getXfer()) {
    case EXS_LittleEndianImplicit:
    case EXS_LittleEndianExplicit:
    case EXS_BigEndianExplicit:
      return absl::OkStatus();
    default:
      break;
  }
  if (found.getXfer() != EXS_DeflatedLittleEndianExplicit &&
      DcmCodecList::canChangeCoding(found.getXfer(),
                                    EXS_LittleEndianExplicit)) {
    return absl::OkStatus();
  }
  return Wrong(absl::StrCat("expected a transfer syntax with a decoder, found ",
                            found.getXferName()));
}

absl::Status Read(ByteSpan file, DcmFileFormat& format) {
  FG_RETURN_IF_ERROR(CheckSyntax(file));
  DcmInputBufferStream stream;
  Open(file, stream);
  format.transferInit();
  const OFCondition read = format.read(stream);
  format.transferEnd();
  return read.good() ? absl::OkStatus() : Unreadable(read);
}

absl::Status CheckHead(DcmDataset& dataset, uint64_t pixels_max) {
  Uint16 rows = 0, columns = 0;
  if (!dataset.tagExists(DCM_PixelData) ||
      dataset.findAndGetUint16(DCM_Rows, rows).bad() ||
      dataset.findAndGetUint16(DCM_Columns, columns).bad()) {
    return Wrong("expected an image, found an object without pixels");
  }
  FG_RETURN_IF_ERROR(CheckImageSize(columns, rows, pixels_max));
  Sint32 frames = 1;
  if (dataset.findAndGetSint32(DCM_NumberOfFrames, frames).good() &&
      frames != 1) {
    return Wrong(absl::StrCat("expected one frame, found ", frames));
  }
  return absl::OkStatus();
}

std::string Text(DcmDataset& dataset, const DcmTagKey& tag) {
  OFString text;
  if (dataset.findAndGetOFString(tag, text).bad()) return "";
  return std::string(text.c_str()).substr(0, kNameMax);
}

template <typename Value>
void Scale(const void* from, int bits, std::vector<float>& pixels) {
  const auto* values = static_cast<const Value*>(from);
  const float full = static_cast<float>((1 << bits) - 1);
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<float>(values[i]) / full;
  }
}

absl::StatusOr<Image> Render(DcmDataset& dataset) {
  DicomImage shown(&dataset, dataset.getOriginalXfer(), CIF_MayDetachPixelData);
  if (shown.getStatus() != EIS_Normal) {
    return Wrong(absl::StrCat("its pixels cannot be decoded (",
                              DicomImage::getString(shown.getStatus()), ")"));
  }
  const bool is_grey = shown.isMonochrome() != 0;
  shown.hideAllOverlays();
  // As many bits as the values have: then they are not rounded.
  int bits = std::clamp(shown.getDepth(), 8, kBitsMax);
  if (is_grey && ((shown.getWindowCount() > 0 && shown.setWindow(0) != 0) ||
                  (shown.getVoiLutCount() > 0 && shown.setVoiLut(0) != 0))) {
    bits = kBitsMax;
  }
  Image image{static_cast<int>(shown.getHeight()),
              static_cast<int>(shown.getWidth()),
              is_grey ? 1 : 3,
              {},
              {}};
  const size_t count = static_cast<size_t>(image.height) *
                       static_cast<size_t>(image.width) *
                       static_cast<size_t>(image.channels);
  const void* values = shown.getOutputData(bits, 0, /*planar=*/0);
  if (values == nullptr ||
      shown.getOutputDataSize(bits) < count * (bits > 8 ? 2 : 1)) {
    return Wrong("its pixels cannot be rendered");
  }
  image.pixels.resize(count);
  if (bits > 8) {
    Scale<Uint16>(values, bits, image.pixels);
  } else {
    Scale<Uint8>(values, bits, image.pixels);
  }
  return image;
}

}  // namespace

bool IsDicom(ByteSpan file) {
  return file.size() >= kPreambleBytes + kMark.size() &&
         AsText(file.subspan(kPreambleBytes, kMark.size())) == kMark;
}

absl::StatusOr<Image> DecodeDicom(ByteSpan file, uint64_t pixels_max) {
  if (!IsDicom(file)) return Wrong("expected DICM behind 128 bytes");
  PrepareDcmtk();
  try {
    DcmFileFormat format;
    FG_RETURN_IF_ERROR(Read(file, format));
    DcmDataset& dataset = *format.getDataset();
    FG_RETURN_IF_ERROR(CheckHead(dataset, pixels_max));
    const DeviceNames device{Text(dataset, DCM_Manufacturer),
                             Text(dataset, DCM_ManufacturerModelName)};
    FG_ASSIGN_OR_RETURN(Image image, Render(dataset));
    image.device = device;
    return image;
  } catch (const std::exception& e) {  // std::bad_alloc
    return Wrong(absl::StrCat("it cannot be decoded: ", e.what()));
  }
}

}  // namespace fedgraft
