// JPEG by libjpeg-turbo: decoded at 1/2, 1/4 or 1/8 where the rest is enough for the resampler, and where it is stored
// as YCbCr without leaving those planes.
#include <algorithm>
#include <cstring>
#include <memory>

#include "image/decoder.h"
#include "image/exif.h"
#include "image/jpeg_errors.h"
#include "image/jpeg_scans.h"

namespace offloop::image {
namespace {

// What must be left for the resampler: below, the inverse DCT's own low pass shows.
// tests/python/test_image_reference.py holds the result to what Pillow loses from a decode at full size.
constexpr double kLeftForResampler = 1.5;

class JpegDecoder final : public Decoder {
 public:
  explicit JpegDecoder(ByteSpan data) noexcept : data_(data) {}
  ~JpegDecoder() override {
    if (created_) jpeg_destroy_decompress(&jpeg_);
  }

  Result<Unit> open(const Limits& limits);
  Result<Shape> prepare(const DecodeRequest& request) override;
  Result<Unit> decode(RowSink& sink, const Stop& stop) override;

 private:
  /// Runs a step of ours that calls libjpeg; false when it jumped out. Steps have no locals with destructors.
  bool guarded(void (JpegDecoder::*step)()) noexcept {
    if (setjmp(errors_.jump) != 0) return false;
    (this->*step)();
    return true;
  }

  void read_header() {
    jpeg_create_decompress(&jpeg_);
    created_ = true;
    jpeg_mem_src(&jpeg_, data_.data(), static_cast<unsigned long>(data_.size()));
    for (const int marker : {JPEG_APP0 + 1, JPEG_APP0 + 2}) jpeg_save_markers(&jpeg_, marker, 0xffff);
    jpeg_read_header(&jpeg_, TRUE);
  }
  void read_profile() { has_profile_ = jpeg_read_icc_profile(&jpeg_, &profile_, &profile_size_) == TRUE; }
  void choose_output() { jpeg_calc_output_dimensions(&jpeg_); }
  void decode_planes();
  void decode_rows();

  void keep_markers();
  [[nodiscard]] bool planes_fit() const noexcept;
  [[nodiscard]] PlaneShape plane_shape(int component) const noexcept;
  void convert_cmyk(const std::uint8_t* in) noexcept;

  const ByteSpan data_;
  JpegErrors errors_;
  JpegProgress progress_{};
  jpeg_decompress_struct jpeg_{};
  bool created_ = false;
  bool has_profile_ = false;
  JOCTET* profile_ = nullptr;
  unsigned profile_size_ = 0;
  Shape shape_;
  RowSink* sink_ = nullptr;
  std::vector<std::uint8_t> buffer_;  ///< one iMCU row of all planes, or one row
  std::vector<JSAMPROW> rows_;
  std::vector<std::uint8_t> converted_;
};

Result<Unit> JpegDecoder::open(const Limits& limits) {
  errors_.install(true);
  jpeg_.err = &errors_;
  if (!guarded(&JpegDecoder::read_header)) return errors_.error("reading the header of a");
  info_.format = Format::kJpeg;
  info_.width = jpeg_.image_width;
  info_.height = jpeg_.image_height;
  info_.progressive = jpeg_.progressive_mode != 0;
  info_.bits = static_cast<std::uint8_t>(jpeg_.data_precision);
  const bool cmyk = jpeg_.num_components == 4;
  info_.channels = jpeg_.num_components == 1 ? 1 : cmyk ? 4 : 3;
  info_.color_space = cmyk ? ColorSpace::kCmyk : info_.channels == 1 ? ColorSpace::kGrey : ColorSpace::kSrgb;
  if (count_jpeg_scans(data_, limits.max_scans) > limits.max_scans) {
    return Error(ErrorCode::kImageLimit,
                 "the JPEG has more scans than max_scans allows (" + std::to_string(limits.max_scans) + ")");
  }
  keep_markers();
  return Unit{};
}

void JpegDecoder::keep_markers() {
  static constexpr char kExif[] = "Exif\0";  // with two zeros
  static constexpr char kXmp[] = "http://ns.adobe.com/xap/1.0/";
  for (const jpeg_marker_struct* marker = jpeg_.marker_list; marker != nullptr; marker = marker->next) {
    if (marker->marker != JPEG_APP0 + 1) continue;
    const auto take = [marker](const char* name, std::size_t size, std::vector<std::uint8_t>& into) {
      if (marker->data_length <= size || std::memcmp(marker->data, name, size) != 0 || !into.empty()) return;
      into.assign(marker->data + size, marker->data + marker->data_length);
    };
    take(kExif, sizeof kExif, metadata_.exif);
    take(kXmp, sizeof kXmp, metadata_.xmp);
  }
  info_.orientation = exif_orientation(metadata_.exif);
  if (guarded(&JpegDecoder::read_profile) && has_profile_) {
    const std::unique_ptr<JOCTET, decltype(&std::free)> owned(profile_, &std::free);
    metadata_.icc.assign(profile_, profile_ + profile_size_);
    info_.has_profile = true;
  }
}

/// Luma first and finest, both chroma alike, which is what the resampler and every encoder expect.
bool JpegDecoder::planes_fit() const noexcept {
  if (jpeg_.jpeg_color_space != JCS_YCbCr || jpeg_.num_components != 3) return false;
  const jpeg_component_info* c = jpeg_.comp_info;
  return c[0].h_samp_factor == jpeg_.max_h_samp_factor && c[0].v_samp_factor == jpeg_.max_v_samp_factor &&
         c[1].h_samp_factor == c[2].h_samp_factor && c[1].v_samp_factor == c[2].v_samp_factor &&
         c[0].h_samp_factor % c[1].h_samp_factor == 0 && c[0].v_samp_factor % c[1].v_samp_factor == 0;
}

/// libjpeg scales the inverse DCT of each component, and of chroma less than of luma where it can: its samples are then
/// as fine as luma's.
PlaneShape JpegDecoder::plane_shape(int component) const noexcept {
  const jpeg_component_info& c = jpeg_.comp_info[component];
  const double full = DCTSIZE;
  return {static_cast<int>(c.downsampled_width), static_cast<int>(c.downsampled_height), 1,
          c.DCT_scaled_size * c.h_samp_factor / (full * jpeg_.max_h_samp_factor),
          c.DCT_scaled_size * c.v_samp_factor / (full * jpeg_.max_v_samp_factor)};
}

Result<Shape> JpegDecoder::prepare(const DecodeRequest& request) {
  errors_.fatal_warnings = request.fail_on == FailOn::kError;
  unsigned eighths = 8;
  while (eighths > 1 && request.shrink * (eighths / 2) / 8 >= kLeftForResampler) eighths /= 2;
  jpeg_.scale_num = eighths;
  jpeg_.scale_denom = 8;
  jpeg_.dct_method = JDCT_ISLOW;
  const bool planes = request.want_ycc && planes_fit();
  if (planes) {
    jpeg_.out_color_space = JCS_YCbCr;
    jpeg_.raw_data_out = TRUE;
  } else {
    jpeg_.out_color_space = info_.channels == 1 ? JCS_GRAYSCALE : info_.channels == 4 ? JCS_CMYK : JCS_RGB;
  }
  if (!guarded(&JpegDecoder::choose_output)) return errors_.error("decoding a");
  if (planes) {
    // Sizes of planes are settled by jpeg_start_decompress(), which may read the whole file: the same sums here.
    shape_.model = Model::kYcc;
    for (int i = 0; i < 3; ++i) shape_.planes.push_back(plane_shape(i));
  } else {
    shape_.model = info_.channels == 1 ? Model::kGrey : Model::kRgb;
    const double scale = eighths / 8.0;
    shape_.planes.push_back({static_cast<int>(jpeg_.output_width), static_cast<int>(jpeg_.output_height),
                             channels_of(shape_.model), scale, scale});
  }
  return shape_;
}

Result<Unit> JpegDecoder::decode(RowSink& sink, const Stop& stop) {
  sink_ = &sink;
  progress_.install(stop);
  jpeg_.progress = &progress_;
  if (shape_.model == Model::kYcc) {
    std::size_t size = 0;
    std::size_t rows = 0;
    for (int i = 0; i < 3; ++i) {
      const jpeg_component_info& c = jpeg_.comp_info[i];
      const auto height = static_cast<std::size_t>(c.v_samp_factor * c.DCT_scaled_size);
      size += static_cast<std::size_t>(c.width_in_blocks) * static_cast<std::size_t>(c.DCT_scaled_size) * height;
      rows += height;
    }
    buffer_.resize(size);
    rows_.resize(rows);
    return guarded(&JpegDecoder::decode_planes) ? Result<Unit>(Unit{}) : errors_.error("decoding a");
  }
  buffer_.resize(static_cast<std::size_t>(jpeg_.output_width) * 4);
  converted_.resize(static_cast<std::size_t>(jpeg_.output_width) * 3);
  return guarded(&JpegDecoder::decode_rows) ? Result<Unit>(Unit{}) : errors_.error("decoding a");
}

void JpegDecoder::decode_planes() {
  jpeg_start_decompress(&jpeg_);
  JSAMPARRAY planes[3];
  int heights[3];
  int taken[3] = {0, 0, 0};
  std::uint8_t* at = buffer_.data();
  JSAMPROW* row = rows_.data();
  for (int i = 0; i < 3; ++i) {
    const jpeg_component_info& c = jpeg_.comp_info[i];
    planes[i] = row;
    heights[i] = c.v_samp_factor * c.DCT_scaled_size;
    for (int y = 0; y < heights[i]; ++y) {
      *row++ = at;
      at += static_cast<std::size_t>(c.width_in_blocks) * static_cast<std::size_t>(c.DCT_scaled_size);
    }
  }
  const auto lines = static_cast<JDIMENSION>(jpeg_.max_v_samp_factor * jpeg_.min_DCT_scaled_size);
  while (jpeg_.output_scanline < jpeg_.output_height && !sink_->full()) {
    jpeg_read_raw_data(&jpeg_, planes, lines);
    for (int i = 0; i < 3; ++i) {
      const int height = shape_.planes[static_cast<std::size_t>(i)].height;
      for (int y = 0; y < heights[i] && taken[i] < height; ++y, ++taken[i]) sink_->row(i, planes[i][y]);
    }
  }
}

void JpegDecoder::decode_rows() {
  jpeg_start_decompress(&jpeg_);
  JSAMPROW row = buffer_.data();
  while (jpeg_.output_scanline < jpeg_.output_height && !sink_->full()) {
    jpeg_read_scanlines(&jpeg_, &row, 1);
    if (jpeg_.out_color_space == JCS_CMYK) {
      convert_cmyk(row);
      sink_->row(0, converted_.data());
    } else {
      sink_->row(0, row);
    }
  }
}

/// Without a profile: light times light. Adobe's files, which are nearly all of them, hold the inks inverted.
void JpegDecoder::convert_cmyk(const std::uint8_t* in) noexcept {
  const unsigned invert = jpeg_.saw_Adobe_marker != 0 ? 0 : 255;
  for (std::size_t x = 0; x < jpeg_.output_width; ++x) {
    const unsigned black = in[4 * x + 3] ^ invert;
    for (std::size_t c = 0; c < 3; ++c) {
      const unsigned product = (in[4 * x + c] ^ invert) * black;
      converted_[3 * x + c] = static_cast<std::uint8_t>((product + 127) / 255);
    }
  }
}

}  // namespace

Result<std::unique_ptr<Decoder>> open_jpeg(ByteSpan data, const Limits& limits) {
  auto decoder = std::make_unique<JpegDecoder>(data);
  Result<Unit> opened = decoder->open(limits);
  if (!opened.ok()) return std::move(opened).error();
  return std::unique_ptr<Decoder>(std::move(decoder));
}

}  // namespace offloop::image
