// What parent and decoder say to each other: one message a picture each way, over a SOCK_SEQPACKET socket. Pixels and
// files go through two memory files, never through here. Both ends run on one machine, so numbers have its byte order;
// every field is read with bounds, every enumerator is checked, and a message must end where its last field ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "offloop/base/bytes.h"
#include "offloop/base/error.h"
#include "offloop/image/info.h"
#include "offloop/image/recipe.h"

namespace offloop::image::isolate {

/// To be raised with every change of a layout: program and library may come from different installations.
inline constexpr std::uint16_t kWireVersion = 1;

/// The decoder's descriptors, beside /dev/null as 0, 1 and 2.
inline constexpr int kSocketFd = 3;
inline constexpr int kInputFd = 4;   ///< the picture, written by the parent
inline constexpr int kOutputFd = 5;  ///< the result, written by the decoder

/// The output file begins with the id of the picture that was begun last; its result comes on the pages after it.
inline constexpr std::size_t kResultAt = 4096;

inline constexpr std::size_t kMaxMessageBytes = 32 * 1024;
inline constexpr std::size_t kMaxSteps = 1024;
inline constexpr std::size_t kMaxTextBytes = 1000;  ///< of an error's message and context; longer ones are cut

/// One picture. `recipe.isolate` and `recipe.engine` are not sent: the decoder has one way only.
struct Request {
  std::uint64_t id = 0;
  std::uint64_t size = 0;        ///< bytes in the input file
  std::int64_t deadline_ns = 0;  ///< monotonic; 0: none
  Recipe recipe;
};

/// What failed when the decoder shut itself in; kNone: nothing.
enum class Setup : std::uint8_t { kNone, kParentGone, kDescriptors, kLimits, kPrivileges, kLandlock, kFilter };

/// The decoder's first words.
struct Hello {
  Setup failed = Setup::kNone;
  std::int32_t system = 0;    ///< errno of what failed
  std::uint8_t landlock = 0;  ///< the kernel's Landlock version in use; 0: it has none
};

/// What became of a picture.
struct Answer {
  std::uint64_t id = 0;
  Error error;             ///< kOk: the rest counts
  std::uint64_t size = 0;  ///< bytes in the output file
  Format format = Format::kUnknown;
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  std::uint32_t frames = 0;
  ImageInfo input;
};

/// At most kMaxMessageBytes. May throw std::bad_alloc. Only with at most kMaxSteps steps.
std::vector<std::uint8_t> encode(const Request& request);
std::vector<std::uint8_t> encode(const Hello& hello);
std::vector<std::uint8_t> encode(const Answer& answer);

/// Nothing when the message is not one of that kind, of this version, whole and without a value that cannot be.
std::optional<Request> decode_request(ByteSpan message);
std::optional<Hello> decode_hello(ByteSpan message);
std::optional<Answer> decode_answer(ByteSpan message);

/// The version of a message of ours of whatever version; nothing for anything else.
std::optional<std::uint16_t> wire_version(ByteSpan message);

}  // namespace offloop::image::isolate
