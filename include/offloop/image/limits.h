// What a picture may cost. All of it is judged from headers, before anything is decoded.
#pragma once

#include <cstdint>

namespace offloop::image {

struct Limits {
  std::uint64_t max_pixels = 50'000'000;         ///< width x height, summed over the frames that are decoded
  std::uint64_t max_bytes = 256ULL << 20;        ///< of the encoded input
  std::uint32_t max_frames = 256;                ///< of an animation, when all of them are asked for
  std::uint32_t max_scans = 100;                 ///< of a progressive JPEG: each costs a pass over the whole picture
  std::uint64_t max_output_pixels = 50'000'000;  ///< of the result
};

}  // namespace offloop::image
