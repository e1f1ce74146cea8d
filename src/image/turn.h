// The eight ways a picture can lie, as EXIF numbers them, as something that can be put one after the other.
#pragma once

#include <cstdint>

namespace offloop::image {

/// First the transposition (rows become columns), then the mirrors, in the frame after it.
struct Turn {
  bool transpose = false;
  bool flop = false;  ///< left to right
  bool flip = false;  ///< upside down

  /// Whether the stored picture's columns, rows run backwards in the turned one.
  [[nodiscard]] constexpr bool reverses_x() const noexcept { return transpose ? flip : flop; }
  [[nodiscard]] constexpr bool reverses_y() const noexcept { return transpose ? flop : flip; }
  [[nodiscard]] constexpr bool identity() const noexcept { return !transpose && !flop && !flip; }
  constexpr bool operator==(const Turn&) const noexcept = default;
};

/// EXIF 2.32, tag 0x0112: 1 upright, 2 mirrored, 3 half a turn, 4 upside down, 5 transposed, 6 to be turned clockwise
/// by a quarter, 7 transversed, 8 to be turned anticlockwise. What upright needs; anything else counts as 1.
constexpr Turn turn_of_orientation(unsigned orientation) noexcept {
  switch (orientation) {
    case 2:
      return {false, true, false};
    case 3:
      return {false, true, true};
    case 4:
      return {false, false, true};
    case 5:
      return {true, false, false};
    case 6:
      return {true, true, false};
    case 7:
      return {true, true, true};
    case 8:
      return {true, false, true};
    default:
      return {};
  }
}

/// Clockwise by 0, 90, 180 or 270 degrees.
constexpr Turn turn_of_degrees(unsigned degrees) noexcept {
  return turn_of_orientation(degrees == 90 ? 6 : degrees == 180 ? 3 : degrees == 270 ? 8 : 1);
}

/// First `a`, then `b`.
constexpr Turn then(Turn a, Turn b) noexcept {
  if (b.transpose) a = {!a.transpose, a.flip, a.flop};
  return {a.transpose, a.flop != b.flop, a.flip != b.flip};
}

}  // namespace offloop::image
