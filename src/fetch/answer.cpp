#include "fetch/answer.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "fetch/tls_end.h"

namespace offloop::fetch {
namespace {

constexpr std::size_t kMaxHeadBytes = 128 * 1024;
constexpr std::uint64_t kMaxDiscardBytes = 64 * 1024;  // reading on keeps the connection; beyond, a new one is cheaper
constexpr std::size_t kScratchBytes = 128 * 1024;

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool has_no_body(const Transfer& t) {
  return t.method == Method::kHead || t.status == 204 || t.status == 304;
}

/// Bytes that on_body will get, -1 when the head does not say.
std::int64_t announced_length(const Transfer& t) {
  if (has_no_body(t)) return 0;
  if (!t.headers.find("transfer-encoding").empty() || t.coded.decoder != nullptr) return -1;
  const std::string_view text = t.headers.find("content-length");
  std::int64_t length = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty() ? length : -1;
}

Error too_large(const Transfer& t) {
  return Error(ErrorCode::kBodyTooLarge, "body is larger than max_body, " + std::to_string(t.max_body) + " bytes");
}

/// How much of a coded body is read: what decodes to little or nothing is endless too. Nothing honest grows by a
/// sixteenth when it is compressed.
std::uint64_t max_coded(const Transfer& t) {
  const std::uint64_t slack = t.max_body / 16 + 64 * 1024;
  return t.max_body > std::numeric_limits<std::uint64_t>::max() - slack ? t.max_body : t.max_body + slack;
}

/// Ends the transfer for a consumer that threw; nothing may unwind through libcurl's C frames.
template <class Call>
bool guarded(Transfer* t, Call call) {
  try {
    call();
    return true;
  } catch (const std::bad_alloc&) {
    t->failure.emplace(ErrorCode::kOutOfMemory, "out of memory");
  } catch (...) {
    t->failure.emplace(ErrorCode::kInternal, "a consumer threw an exception");
  }
  return false;
}

/// libcurl takes the last of several lengths, the digits before anything else, and for none what overflows: each may
/// be wrong, and then the body is cut or holds what follows it (RFC 9110 section 8.6).
bool check_length(Transfer* t) {
  std::string_view first;
  for (const auto& [name, value] : t->headers.list()) {
    if (name.size() != 14 || strncasecmp(name.data(), "content-length", 14) != 0) continue;
    std::uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    const bool is_number = error == std::errc{} && end == value.data() + value.size() && !value.empty();
    if (!is_number || length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      t->failure.emplace(ErrorCode::kFetch, "Content-Length is not a number of bytes: '" + std::string(value) + "'");
      return false;
    }
    if (first.empty()) first = value;
    if (first != value) {
      t->failure.emplace(ErrorCode::kFetch, "Content-Length is given twice and differs: '" + std::string(first) +
                                                "' and '" + std::string(value) + "'");
      return false;
    }
  }
  return true;
}

/// False: the body cannot be read, and `failure` says why.
bool prepare_body(EasySlot& slot) {
  Transfer* t = slot.transfer;
  if (t->headers.find("transfer-encoding").empty() && !check_length(t)) return false;
  // libcurl would decode it without a look at its end. Nobody asked for it, so nobody may send it (RFC 9112 6.1).
  if (const std::string_view coding = t->headers.find("transfer-encoding");
      !coding.empty() && strcasecmp(std::string(coding).c_str(), "chunked") != 0 &&
      strcasecmp(std::string(coding).c_str(), "identity") != 0) {
    t->failure.emplace(ErrorCode::kFetch, "transfer encoding '" + std::string(coding) + "' was not asked for");
    return false;
  }
  if (!slot.config->options.decompress || t->method == Method::kHead) return true;
  Result<std::unique_ptr<ContentDecoder>> decoder = make_content_decoder(t->headers);
  if (!decoder) {
    t->failure = std::move(decoder).error();
    return false;
  }
  t->coded.decoder = std::move(decoder).value();
  return true;
}

/// The body ends with the connection, and that with TLS's closing message, or anybody on the way could cut it (RFC 9112
/// section 9.8). libcurl 7.88 does not look.
void watch_end(EasySlot& slot) {
  Transfer* t = slot.transfer;
  long version = 0;
  curl_easy_getinfo(slot.easy, CURLINFO_HTTP_VERSION, &version);
  if (!t->url.https || version >= CURL_HTTP_VERSION_2_0 || has_no_body(*t)) return;
  if (!t->headers.find("content-length").empty() || !t->headers.find("transfer-encoding").empty()) return;
  t->closing_message = watch_closing_message(slot.easy);
}

/// The head is complete: decides what the body is good for. False ends the transfer.
bool finish_head(EasySlot& slot) {
  Transfer* t = slot.transfer;
  if (t->status < 200 && t->status != 101) return true;  // 100 Continue, 103 Early Hints: the real head follows
  t->head_done = true;
  if (is_redirect(t->status) && !t->headers.find("location").empty()) {
    t->discard = true;
    return true;
  }
  t->discard = t->status >= 400 && slot.config->options.fail_on_status;
  if (!t->discard && !prepare_body(slot)) return false;
  const std::int64_t length = announced_length(*t);
  slot.sink->called_consumer = true;
  t->consumer->on_response({t->status, t->url.text, t->headers, length});
  if (t->discard) return true;
  watch_end(slot);
  if (length >= 0 && static_cast<std::uint64_t>(length) > t->max_body) {
    t->failure = too_large(*t);
    return false;
  }
  return true;
}

/// Bytes for the consumer. kAbort: `failure` says why.
Flow give(EasySlot& slot, ByteSpan bytes) {
  Transfer* t = slot.transfer;
  if (bytes.size() > t->max_body - t->body_bytes) {
    t->failure = too_large(*t);
    return Flow::kAbort;
  }
  slot.sink->called_consumer = true;
  const Flow flow = t->consumer->on_body(bytes);
  if (flow == Flow::kContinue) t->body_bytes += bytes.size();
  if (flow == Flow::kPause) t->paused = true;
  if (flow == Flow::kAbort) t->failure.emplace(ErrorCode::kStopped, "the consumer ended the transfer");
  return flow;
}

/// One piece of the coded body. After kPause libcurl gives the same bytes again, so they count as not taken; how much
/// of them is decoded stands in `coded.done`.
Flow give_decoded(EasySlot& slot, ByteSpan in) {
  Transfer* t = slot.transfer;
  CodedBody& coded = t->coded;
  if (!coded.kept.empty()) {
    if (const Flow flow = give(slot, coded.kept); flow != Flow::kContinue) return flow;
    coded.kept.clear();
  }
  std::vector<std::uint8_t>& out = slot.sink->scratch;
  if (out.empty()) out.resize(kScratchBytes);
  for (;;) {
    const ContentDecoder::Step step = coded.decoder->decode(in.subspan(coded.done), out);
    coded.done += step.consumed;
    coded.bytes += step.consumed;
    const ByteSpan piece = ByteSpan(out).first(step.produced);
    if (const Flow flow = piece.empty() ? Flow::kContinue : give(slot, piece); flow != Flow::kContinue) {
      if (flow == Flow::kPause) coded.kept.assign(piece.begin(), piece.end());
      return flow;
    }
    if (step.out_of_memory) t->failure.emplace(ErrorCode::kOutOfMemory, "out of memory for a decoder");
    if (step.broken != nullptr) {
      t->failure.emplace(ErrorCode::kContentDecoding,
                         std::string("broken ") + coded.decoder->name() + " content: " + step.broken);
    }
    if (coded.bytes > max_coded(*t)) t->failure = too_large(*t);
    if (t->failure) return Flow::kAbort;
    if (step.produced < out.size() && coded.done == in.size()) break;
  }
  coded.done = 0;
  return Flow::kContinue;
}

/// The bytes taken, or 0 to end the transfer: then `failure` says why.
std::size_t header_line(EasySlot& slot, std::string_view line) {
  Transfer* t = slot.transfer;
  const std::size_t size = line.size();
  t->got_bytes = true;
  if (t->head_done) return size;  // a trailer
  t->head_bytes += size;
  if (t->head_bytes > kMaxHeadBytes) {
    t->failure.emplace(ErrorCode::kFetch, "header section is larger than " + std::to_string(kMaxHeadBytes) + " bytes");
    return 0;
  }
  if (t->status == 0) {  // between heads: this is a status line, which libcurl has just read
    long status = 0;
    curl_easy_getinfo(slot.easy, CURLINFO_RESPONSE_CODE, &status);
    t->status = static_cast<int>(status);
    t->headers.clear();
    return size;
  }
  if (line == "\r\n" || line == "\n") {
    if (!finish_head(slot)) return 0;
    if (!t->head_done) t->status = 0;
    return size;
  }
  t->headers.append_line(line);
  return size;
}

std::size_t body_bytes(EasySlot& slot, ByteSpan bytes) {
  Transfer* t = slot.transfer;
  const std::size_t size = bytes.size();
  if (t->discard) {
    t->discarded += size;
    return t->discarded > kMaxDiscardBytes ? 0 : size;
  }
  if (size == 0) return 0;
  const Flow flow = t->coded.decoder == nullptr ? give(slot, bytes) : give_decoded(slot, bytes);
  return flow == Flow::kContinue ? size : flow == Flow::kPause ? CURL_WRITEFUNC_PAUSE : 0;
}

}  // namespace

std::size_t take_header_line(char* data, std::size_t, std::size_t size, void* user) {
  EasySlot& slot = *static_cast<EasySlot*>(user);
  std::size_t taken = 0;
  return guarded(slot.transfer, [&] { taken = header_line(slot, {data, size}); }) ? taken : 0;
}

std::size_t take_body(char* data, std::size_t, std::size_t size, void* user) {
  EasySlot& slot = *static_cast<EasySlot*>(user);
  const ByteSpan bytes(reinterpret_cast<const std::uint8_t*>(data), size);
  std::size_t taken = 0;
  return guarded(slot.transfer, [&] { taken = body_bytes(slot, bytes); }) ? taken : 0;
}

std::optional<Error> missing_end(const Transfer& t) {
  if (!t.head_done) return Error(ErrorCode::kIncompleteBody, "the connection was closed within the head of the answer");
  if (t.closing_message != nullptr && !*t.closing_message) {
    return Error(ErrorCode::kIncompleteBody, "the connection was cut within a body whose length is not known");
  }
  if (t.coded.decoder != nullptr && !t.coded.decoder->complete()) {
    return Error(ErrorCode::kContentDecoding,
                 std::string("broken ") + t.coded.decoder->name() + " content: it ends before its end");
  }
  return std::nullopt;
}

}  // namespace offloop::fetch
