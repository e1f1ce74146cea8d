// Spans of bytes and their text forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace offloop {

using ByteSpan = std::span<const std::uint8_t>;

/// Lower-case hexadecimal, two characters a byte, written to `out` (2 * n characters, no terminator), which `bytes`
/// must not overlap. [any thread]
void write_hex(const std::uint8_t* bytes, std::size_t n, char* out) noexcept;

/// Lower-case hexadecimal as a string. [any thread]
std::string to_hex(ByteSpan bytes);

}  // namespace offloop
