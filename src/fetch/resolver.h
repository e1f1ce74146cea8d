// Name resolution outside libcurl: a look-up can block for seconds, and only a thread of its own can be left alone with
// it.
//
// At most kMaxThreads threads, started on demand and gone when idle. One look-up serves everybody who waits for that
// name (single flight); answers are cached for a minute, failures for five seconds, a bounded number of both.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fetch/mailbox.h"
#include "offloop/base/result.h"

namespace offloop::fetch {

struct Resolution {
  std::vector<std::string> addresses;  ///< numeric, in the system's order of preference
  std::string failure;                 ///< why there are none
  bool not_asked = false;              ///< nobody was asked: descriptors, threads or memory are short
  bool temporary = false;              ///< the resolver or its server failed for the moment (EAI_AGAIN)
  bool out_of_memory = false;          ///< that is why nobody was asked
};

using Overrides = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Reads "host:address" entries; several entries of one host add up. kInvalidArgument for any other form.
Result<Overrides> parse_overrides(const std::vector<std::string>& entries);

/// A blocking look-up of one name, as getaddrinfo does it. A seam for tests.
using LookUp = Resolution (*)(const std::string& host);
Resolution look_up_with_getaddrinfo(const std::string& host);

/// Replaces the look-up of resolvers made from now on; nullptr restores getaddrinfo. For tests only. [any thread]
void set_look_up_for_tests(LookUp look_up) noexcept;

class Resolver {
 public:
  explicit Resolver(Overrides overrides);
  /// Stops idle threads; one inside a look-up ends after it, touching nothing but state that it shares.
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// The answer when it is known; otherwise nullptr, and Command::kResolved for `transfer` comes to `mailbox`. [any
  /// thread]
  std::shared_ptr<const Resolution> resolve(const std::string& host, TransferId transfer,
                                            const std::shared_ptr<Mailbox>& mailbox);

  /// Look-ups started so far. [any thread]
  std::uint64_t lookups() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace offloop::fetch
