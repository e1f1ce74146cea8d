#include "image/jpeg_scans.h"

#include <cstring>

namespace offloop::image {
namespace {

constexpr std::uint8_t kStartOfScan = 0xda;
constexpr std::uint8_t kEndOfImage = 0xd9;

/// ITU-T T.81, B.1.1.3: markers without a segment behind them.
bool stands_alone(std::uint8_t marker) noexcept {
  return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8);
}

}  // namespace

std::uint32_t count_jpeg_scans(ByteSpan data, std::uint32_t most) noexcept {
  std::uint32_t scans = 0;
  std::size_t at = 2;
  while (scans <= most && at < data.size()) {
    // The next marker: 0xff and something that is neither a stuffed zero nor fill.
    const void* found = std::memchr(data.data() + at, 0xff, data.size() - at);
    if (found == nullptr) break;
    at = static_cast<std::size_t>(static_cast<const std::uint8_t*>(found) - data.data()) + 1;
    if (at >= data.size()) break;
    const std::uint8_t marker = data[at];
    if (marker == 0 || marker == 0xff) continue;
    ++at;
    if (marker == kEndOfImage) break;
    if (stands_alone(marker)) continue;
    if (at + 2 > data.size()) break;
    if (marker == kStartOfScan) ++scans;
    at += static_cast<std::size_t>(data[at]) << 8 | data[at + 1];
  }
  return scans;
}

}  // namespace offloop::image
