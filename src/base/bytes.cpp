#include "offloop/base/bytes.h"

#include <bit>
#include <cstring>

namespace offloop {

/// Both digits of a byte in one 16-bit sum and without a table, so that the compiler makes vectors of it: every digest
/// that becomes text passes here, on the event loop's thread.
void write_hex(const std::uint8_t* __restrict bytes, std::size_t n, char* __restrict out) noexcept {
  static_assert(std::endian::native == std::endian::little);
  for (std::size_t i = 0; i < n; ++i) {
    const unsigned nibbles = bytes[i] >> 4 | (bytes[i] & 15U) << 8;  // the first digit lower, so that it comes first
    const unsigned letters = (nibbles + 0x0606) >> 4 & 0x0101;       // 1 where the nibble is above 9
    const auto text = static_cast<std::uint16_t>(nibbles + 0x3030 + letters * ('a' - '0' - 10));
    std::memcpy(out + 2 * i, &text, sizeof text);
  }
}

std::string to_hex(ByteSpan bytes) {
  std::string text(bytes.size() * 2, '\0');
  write_hex(bytes.data(), bytes.size(), text.data());
  return text;
}

}  // namespace offloop
