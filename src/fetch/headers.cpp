#include "offloop/fetch/headers.h"

#include <strings.h>

namespace offloop::fetch {
namespace {

std::string_view trim(std::string_view text) noexcept {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Calls visit(name, value with blanks around) for each line until it returns false.
template <class Visit>
void for_each_header(std::string_view raw, Visit visit) {
  while (!raw.empty()) {
    const std::size_t newline = raw.find('\n');
    const std::string_view line = raw.substr(0, newline);
    raw.remove_prefix(newline == std::string_view::npos ? raw.size() : newline + 1);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (!visit(line.substr(0, colon), line.substr(colon + 1))) return;
  }
}

}  // namespace

std::string_view HeaderBlock::find(std::string_view name) const noexcept {
  std::string_view found;
  for_each_header(raw_, [&](std::string_view header, std::string_view value) {
    if (header.size() != name.size() || strncasecmp(header.data(), name.data(), name.size()) != 0) return true;
    found = trim(value);
    return false;
  });
  return found;
}

std::vector<std::pair<std::string_view, std::string_view>> HeaderBlock::list() const {
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  for_each_header(raw_, [&](std::string_view name, std::string_view value) {
    headers.emplace_back(name, trim(value));
    return true;
  });
  return headers;
}

}  // namespace offloop::fetch
