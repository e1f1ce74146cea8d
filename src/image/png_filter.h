// PNG's row filters (PNG specification, section 9), both ways. libpng does the same without SIMD in Debian's build,
// which is half of the time that a photograph takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace offloop::image::png {

enum Filter : std::uint8_t { kNone = 0, kSub = 1, kUp = 2, kAverage = 3, kPaeth = 4 };

/// Undoes `filter` in place. `row` and `above` (zeros for the first row) have `bytes` bytes, and at least 4 more that
/// may be read; a pixel has `step` (1 to 4). False for a filter that does not exist. [any thread]
bool undo_filter(std::uint8_t filter, std::uint8_t* row, const std::uint8_t* above, std::size_t bytes,
                 int step) noexcept;

/// Filters rows for an encoder: all five ways are tried, the one with the smallest sum of absolute differences wins, as
/// in libpng.
class FilterChooser {
 public:
  /// May throw std::bad_alloc.
  FilterChooser(std::size_t most_bytes, int step);
  /// The filter's number and the filtered row, bytes + 1 in all, valid until the next call. The next row has this one
  /// above it.
  const std::uint8_t* choose(const std::uint8_t* row, std::size_t bytes) noexcept;
  /// Begins a new picture (or a pass of an interlaced one): nothing is above its first row.
  void restart() noexcept;

 private:
  std::size_t step_;
  std::size_t size_;                 // of one line in lines_
  std::vector<std::uint8_t> lines_;  // this row, the row above, and the five candidates, each with zeros in front
  bool odd_ = false;                 // which of the first two lines is the row above
};

}  // namespace offloop::image::png
