#include "fetch/content_decoder.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace offloop::fetch {
namespace {

// More would multiply how much a small body can grow (and each coding has buffers of its own); nobody sends more.
constexpr std::size_t kMaxCodings = 2;

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// In the order in which they were applied, over all Content-Encoding lines.
std::vector<std::string_view> codings_of(const HeaderBlock& headers) {
  std::vector<std::string_view> codings;
  for (const auto& [name, value] : headers.list()) {
    if (!same(name, "content-encoding")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view coding = trim(rest.substr(0, comma));
      if (!coding.empty() && !same(coding, "identity") && !same(coding, "none")) codings.push_back(coding);
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return codings;
}

using Make = std::unique_ptr<ContentDecoder> (*)() noexcept;

Make maker_of(std::string_view coding) {
  if (same(coding, "gzip") || same(coding, "x-gzip")) return &make_gzip_decoder;
  if (same(coding, "deflate")) return &make_deflate_decoder;
  if (same(coding, "br")) return &make_brotli_decoder;
  if (same(coding, "zstd")) return &make_zstd_decoder;
  return nullptr;
}

/// What comes out of one decoder goes into the other.
class TwoDecoders final : public ContentDecoder {
 public:
  TwoDecoders(std::unique_ptr<ContentDecoder> outer, std::unique_ptr<ContentDecoder> inner) noexcept
      : outer_(std::move(outer)), inner_(std::move(inner)) {}

  Step decode(ByteSpan in, std::span<std::uint8_t> out) noexcept override {
    Step step;
    for (;;) {
      // First what is waiting between the two, so that `out` is filled before more input is taken.
      const Step second = inner_->decode(ByteSpan(between_).subspan(begin_, end_ - begin_), out.subspan(step.produced));
      begin_ += second.consumed;
      step.produced += second.produced;
      if (failed(second)) return as(step, second, *inner_);
      if (step.produced == out.size()) return step;
      const Step first = outer_->decode(in.subspan(step.consumed), between_);
      begin_ = 0;
      end_ = first.produced;
      step.consumed += first.consumed;
      if (failed(first)) return as(step, first, *outer_);
      if (end_ == 0) return step;
    }
  }

  [[nodiscard]] bool complete() const noexcept override {
    return begin_ == end_ && outer_->complete() && inner_->complete();
  }
  [[nodiscard]] const char* name() const noexcept override { return blamed_; }

 private:
  static bool failed(const Step& step) noexcept { return step.broken != nullptr || step.out_of_memory; }
  Step as(Step whole, const Step& part, const ContentDecoder& which) noexcept {
    blamed_ = which.name();
    whole.broken = part.broken;
    whole.out_of_memory = part.out_of_memory;
    return whole;
  }

  const std::unique_ptr<ContentDecoder> outer_;  // the coding that was applied last
  const std::unique_ptr<ContentDecoder> inner_;
  const char* blamed_ = "content";
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::array<std::uint8_t, 16 * 1024> between_;
};

}  // namespace

Result<std::unique_ptr<ContentDecoder>> make_content_decoder(const HeaderBlock& headers) {
  const std::vector<std::string_view> codings = codings_of(headers);
  if (codings.size() > kMaxCodings) {
    return Error(ErrorCode::kContentDecoding,
                 "more than " + std::to_string(kMaxCodings) + " content codings, " + std::to_string(codings.size()));
  }
  std::unique_ptr<ContentDecoder> decoder;
  for (const std::string_view coding : codings) {
    const Make make = maker_of(coding);
    if (make == nullptr) {
      return Error(ErrorCode::kContentDecoding, "content encoding '" + std::string(coding) + "' is not known");
    }
    std::unique_ptr<ContentDecoder> next = make();
    if (next && decoder) next = std::make_unique<TwoDecoders>(std::move(next), std::move(decoder));
    if (!next) return Error(ErrorCode::kOutOfMemory, "out of memory for a decoder");
    decoder = std::move(next);
  }
  return decoder;
}

}  // namespace offloop::fetch
