// The header section of a response, kept as one string and split only when asked: most callers read one header or none.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace offloop::fetch {

class HeaderBlock {
 public:
  /// The first header of that name (any case), without surrounding blanks; empty when absent. Valid as long as the
  /// block.
  std::string_view find(std::string_view name) const noexcept;

  /// All headers in the order of arrival, names as the server wrote them. Valid as long as the block.
  std::vector<std::pair<std::string_view, std::string_view>> list() const;

  /// The lines as received, CR LF included, without the status line.
  const std::string& raw() const noexcept { return raw_; }

  void append_line(std::string_view line) { raw_.append(line); }
  void clear() noexcept { raw_.clear(); }

 private:
  std::string raw_;
};

}  // namespace offloop::fetch
