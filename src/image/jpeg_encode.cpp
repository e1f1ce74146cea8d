// JPEG by libjpeg-turbo, from RGB, grey, or planes that are YCbCr already.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "image/encoder.h"
#include "image/jpeg_errors.h"

namespace offloop::image {
namespace {

constexpr int kLongestSide = JPEG_MAX_DIMENSION;
constexpr std::size_t kLongestSegment = 65533;  // T.81, B.1.1.4: a segment's length has 16 bits and counts itself

class JpegEncoder {
 public:
  JpegEncoder(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop)
      : pixels_(pixels), output_(output), metadata_(metadata) {
    errors_.install(true);
    jpeg_.err = &errors_;
    progress_.install(stop);
  }
  ~JpegEncoder() {
    if (created_) jpeg_destroy_compress(&jpeg_);
    std::free(data_);
  }
  JpegEncoder(const JpegEncoder&) = delete;
  JpegEncoder& operator=(const JpegEncoder&) = delete;

  Result<Bytes> run() {
    prepare_buffers();
    if (!guarded(&JpegEncoder::encode)) return errors_.error("writing a");
    return Bytes(data_, data_ + size_);
  }

 private:
  bool guarded(void (JpegEncoder::*step)()) noexcept {
    if (setjmp(errors_.jump) != 0) return false;
    (this->*step)();
    return true;
  }

  void prepare_buffers();
  void encode();
  void set_parameters();
  void write_metadata();
  void write_segment(const char* name, std::size_t name_size, const std::vector<std::uint8_t>& data);
  void write_rows();
  void write_planes();
  JSAMPROW plane_row(const Plane& plane, int y, std::uint8_t* scratch) const noexcept;

  const Pixels& pixels_;
  const Output& output_;
  const Metadata& metadata_;
  JpegErrors errors_;
  JpegProgress progress_{};
  jpeg_compress_struct jpeg_{};
  bool created_ = false;
  unsigned char* data_ = nullptr;
  unsigned long size_ = 0;
  std::vector<std::uint8_t> scratch_;  ///< rows of one iMCU, widened to whole blocks
  std::vector<std::uint8_t> segment_;
};

/// All that may throw, before libjpeg may jump.
void JpegEncoder::prepare_buffers() {
  if (pixels_.model == Model::kYcc) scratch_.resize((pixels_.planes[0].stride + 2 * pixels_.planes[1].stride) * 16);
  segment_.reserve(std::min(kLongestSegment, std::max(metadata_.exif.size(), metadata_.xmp.size()) + 64));
}

void JpegEncoder::encode() {
  jpeg_create_compress(&jpeg_);
  created_ = true;
  jpeg_.progress = &progress_;
  jpeg_mem_dest(&jpeg_, &data_, &size_);
  set_parameters();
  jpeg_start_compress(&jpeg_, TRUE);
  write_metadata();
  if (pixels_.model == Model::kYcc) {
    write_planes();
  } else {
    write_rows();
  }
  jpeg_finish_compress(&jpeg_);
}

void JpegEncoder::set_parameters() {
  const bool grey = pixels_.model == Model::kGrey;
  const bool ycc = pixels_.model == Model::kYcc;
  jpeg_.image_width = static_cast<JDIMENSION>(pixels_.width);
  jpeg_.image_height = static_cast<JDIMENSION>(pixels_.height);
  jpeg_.input_components = grey ? 1 : 3;
  jpeg_.in_color_space = grey ? JCS_GRAYSCALE : ycc ? JCS_YCbCr : JCS_RGB;
  jpeg_set_defaults(&jpeg_);
  jpeg_set_quality(&jpeg_, output_.quality, TRUE);
  jpeg_.optimize_coding = output_.optimize ? TRUE : FALSE;
  jpeg_.dct_method = JDCT_ISLOW;
  if (output_.progressive) jpeg_simple_progression(&jpeg_);
  if (ycc) {
    jpeg_.raw_data_in = TRUE;
    jpeg_.comp_info[0].h_samp_factor = pixels_.chroma_x;
    jpeg_.comp_info[0].v_samp_factor = pixels_.chroma_y;
  } else if (!grey && output_.subsampling == Subsampling::k444) {
    jpeg_.comp_info[0].h_samp_factor = 1;
    jpeg_.comp_info[0].v_samp_factor = 1;
  }
}

void JpegEncoder::write_segment(const char* name, std::size_t name_size, const std::vector<std::uint8_t>& data) {
  if (data.empty() || data.size() + name_size > kLongestSegment) return;
  segment_.assign(name, name + name_size);  // within what was reserved: does not throw
  segment_.insert(segment_.end(), data.begin(), data.end());
  jpeg_write_marker(&jpeg_, JPEG_APP0 + 1, segment_.data(), static_cast<unsigned>(segment_.size()));
}

void JpegEncoder::write_metadata() {
  static constexpr char kExif[] = "Exif\0";
  static constexpr char kXmp[] = "http://ns.adobe.com/xap/1.0/";
  write_segment(kExif, sizeof kExif, metadata_.exif);
  write_segment(kXmp, sizeof kXmp, metadata_.xmp);
  if (!metadata_.icc.empty())
    jpeg_write_icc_profile(&jpeg_, metadata_.icc.data(), static_cast<unsigned>(metadata_.icc.size()));
}

void JpegEncoder::write_rows() {
  const Plane& plane = pixels_.planes[0];
  while (jpeg_.next_scanline < jpeg_.image_height) {
    auto* row = const_cast<JSAMPROW>(plane.row(static_cast<int>(jpeg_.next_scanline)));
    jpeg_write_scanlines(&jpeg_, &row, 1);
  }
}

/// The last row again below the picture, the last sample again beside it: whole blocks are read.
JSAMPROW JpegEncoder::plane_row(const Plane& plane, int y, std::uint8_t* scratch) const noexcept {
  const auto width = static_cast<std::size_t>(plane.width);
  const std::uint8_t* row = plane.row(std::min(y, plane.height - 1));
  if (width % DCTSIZE == 0) return const_cast<JSAMPROW>(row);
  std::memcpy(scratch, row, width);
  std::memset(scratch + width, row[width - 1], DCTSIZE - width % DCTSIZE);
  return scratch;
}

void JpegEncoder::write_planes() {
  JSAMPROW rows[3][16];
  JSAMPARRAY planes[3] = {rows[0], rows[1], rows[2]};
  while (jpeg_.next_scanline < jpeg_.image_height) {
    std::uint8_t* scratch = scratch_.data();
    for (int i = 0; i < 3; ++i) {
      const Plane& plane = pixels_.planes[static_cast<std::size_t>(i)];
      const int height = DCTSIZE * jpeg_.comp_info[i].v_samp_factor;
      const int first =
          static_cast<int>(jpeg_.next_scanline) * jpeg_.comp_info[i].v_samp_factor / jpeg_.max_v_samp_factor;
      for (int y = 0; y < height; ++y) {
        rows[i][y] = plane_row(plane, first + y, scratch);
        scratch += plane.stride;
      }
    }
    jpeg_write_raw_data(&jpeg_, planes, static_cast<JDIMENSION>(DCTSIZE * jpeg_.max_v_samp_factor));
  }
}

}  // namespace

Result<Bytes> encode_jpeg(const Pixels& pixels, const Output& output, const Metadata& metadata, const Stop& stop) {
  if (pixels.width > kLongestSide || pixels.height > kLongestSide) {
    return Error(ErrorCode::kImage, "a JPEG has at most " + std::to_string(kLongestSide) + " pixels a side, got " +
                                        std::to_string(pixels.width) + "x" + std::to_string(pixels.height));
  }
  return JpegEncoder(pixels, output, metadata, stop).run();
}

}  // namespace offloop::image
