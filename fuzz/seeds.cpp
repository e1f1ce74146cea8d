// Writes a few small pictures of each format into a folder: seeds for the fuzz targets.
#include <filesystem>
#include <fstream>
#include <string>

#include "image/encoder.h"
#include "support/image_pictures.h"

namespace im = offloop::image;

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const offloop::Result<im::Bytes>& bytes) {
    if (!bytes.ok()) std::abort();
    std::ofstream file(folder / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.value().data()), static_cast<std::streamsize>(bytes.value().size()));
  };
  im::Metadata metadata;
  metadata.exif = im::testing::exif_with_orientation(6);
  metadata.xmp = {'<', 'x', '/', '>'};
  im::Output plain;
  im::Output special;
  special.progressive = true;
  special.lossless = true;
  const im::Pixels rgb = im::testing::natural(37, 23, im::Model::kRgb, 1);
  const im::Pixels rgba = im::testing::natural(19, 31, im::Model::kRgba, 2);
  const im::Pixels grey = im::testing::natural(40, 9, im::Model::kGrey, 3);
  write("rgb.jpeg", im::encode_jpeg(rgb, plain, metadata, {}));
  write("progressive.jpeg", im::encode_jpeg(rgb, special, {}, {}));
  write("grey.jpeg", im::encode_jpeg(grey, plain, {}, {}));
  write("rgba.png", im::encode_png(rgba, plain, metadata, {}));
  write("interlaced.png", im::encode_png(rgb, special, {}, {}));
  write("grey.png", im::encode_png(grey, plain, {}, {}));
  write("lossy.webp", im::encode_webp(rgb, plain, metadata, {}));
  write("lossless.webp", im::encode_webp(rgba, special, {}, {}));
  return 0;
}
