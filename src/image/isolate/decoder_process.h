// One decoder process and the way to it. One caller at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "image/isolate/budget.h"
#include "image/isolate/child.h"
#include "image/isolate/memory_file.h"
#include "image/isolate/wire.h"
#include "offloop/image/process.h"

namespace offloop::image::isolate {

/// What decoder processes get.
struct Options {
  std::string program;                      ///< empty: program_path()
  std::int64_t cpu_ns = 10'000'000'000;     ///< of CPU time for a picture
  std::int64_t stuck_ns = 300'000'000'000;  ///< of our waiting for a picture: one that uses no CPU time ends, too
  std::uint32_t pictures = 256;             ///< then a decoder is replaced by a new one
  std::size_t idle = 0;                     ///< kept at most; 0: as many as the pool has workers
};

/// What became of a picture that was given to a decoder.
struct Attempt {
  std::optional<Result<Processed>>
      result;           ///< nothing: the decoder went before the picture could have harmed it; try another
  bool usable = false;  ///< the decoder may have the next picture
};

class DecoderProcess {
 public:
  /// Ready for pictures, shut in. kIo with what is missing; kStopped, kTimeout; kDecoderCrash when something has ended
  /// it before it was ready, which another one may be spared. May throw std::bad_alloc.
  static Result<std::unique_ptr<DecoderProcess>> start(const Options& options, const Stop& stop);

  DecoderProcess(const DecoderProcess&) = delete;
  DecoderProcess& operator=(const DecoderProcess&) = delete;
  ~DecoderProcess() = default;  ///< kills it and waits for its end

  /// Gives it a picture and waits. May throw std::bad_alloc; it is not usable then.
  Attempt run(ByteSpan data, Format format, const Recipe& recipe, const Stop& stop);

  /// False when it has died, or says things that nobody asked for, while it had nothing to do.
  [[nodiscard]] bool quiet() const noexcept;
  [[nodiscard]] std::uint32_t pictures() const noexcept { return pictures_; }
  [[nodiscard]] Child& child() noexcept { return child_; }

  /// In a forked child: closes its descriptors, if they still are what they were, and nothing else.
  void abandon() noexcept;

 private:
  DecoderProcess(const Options& options, Child child, Fd socket, MemoryFile input, MemoryFile output) noexcept;

  /// How waiting for a message ended.
  struct Wait {
    std::size_t bytes = 0;          ///< of a message, when there is one
    std::optional<Error> given_up;  ///< stopped, out of time, over its budget
  };

  std::optional<Error> greet(const Stop& stop);
  /// Nothing, or why it cannot be given the picture.
  std::optional<Attempt> hand_over(ByteSpan data, const Recipe& recipe, const Budget& budget, const Stop& stop);
  bool set_limits(const Budget& budget) noexcept;
  Wait wait_for_message(const Stop& stop, std::span<std::uint8_t> buffer);
  /// Once a tick; `cpu_start_ns`: -1 at first.
  std::optional<Error> reason_to_give_up(std::int64_t ticks, std::int64_t& cpu_start_ns, const Stop& stop);
  Attempt lost();
  [[nodiscard]] bool begun() const;
  Attempt judge(ByteSpan message, Format format, const Recipe& recipe, const Budget& budget, const Stop& stop);

  const Options& options_;  ///< of the set, which outlives it
  Child child_;
  Fd socket_;
  MemoryFile input_;
  MemoryFile output_;
  Budget budget_;  ///< what its limits are set to
  std::uint64_t id_ = 0;
  std::uint32_t pictures_ = 0;
  std::uint64_t inodes_[4] = {};  ///< of the descriptors above
};

}  // namespace offloop::image::isolate
