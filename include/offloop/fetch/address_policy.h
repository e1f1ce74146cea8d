// Which peers may be connected to: the guard against server-side request forgery. It judges addresses, never names: it
// is asked after name resolution, for every new connection of every redirect hop (see docs/design/fetch.md).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "offloop/base/result.h"

struct sockaddr;

namespace offloop::fetch {

/// An IPv4 or IPv6 address. IPv4-mapped IPv6 (::ffff:a.b.c.d) is stored as IPv4, because that is what the kernel
/// connects to.
struct IpAddress {
  bool v6 = false;
  std::array<std::uint8_t, 16> bytes{};  ///< network order; the first 4 for IPv4

  /// Dotted decimal or RFC 4291 text, without brackets or zone. nullopt for anything else, "127.1" too. [any thread]
  static std::optional<IpAddress> parse(std::string_view text);

  /// AF_INET and AF_INET6 only. [any thread]
  static std::optional<IpAddress> from_sockaddr(const sockaddr* address);
};

/// "10.0.0.0/8", "fd00::/8", or one address.
struct Cidr {
  IpAddress base;
  unsigned prefix_bits = 0;

  static Result<Cidr> parse(std::string_view text);
  bool contains(const IpAddress& address) const noexcept;
};

enum class AddressMode : std::uint8_t {
  kAllowAll,    ///< the user's own URLs: every address
  kPublicOnly,  ///< URLs of others: only addresses of the public internet
};

/// Why kPublicOnly refuses this address ("loopback", "private network", ...), or nullptr when it is a public one.
/// Addresses that carry an IPv4 address inside (NAT64, 6to4, Teredo, ISATAP, compatible) are refused, or judged by what
/// they carry. [any thread]
const char* non_public_reason(const IpAddress& address) noexcept;

/// Immutable after create(), so every thread may ask it.
class AddressPolicy {
 public:
  /// kInvalidArgument names the entry that is no CIDR.
  static Result<AddressPolicy> create(AddressMode mode, const std::vector<std::string>& allow_cidrs,
                                      const std::vector<std::string>& deny_cidrs);

  /// nullptr when the address may be connected to, otherwise the reason. The deny list wins over the allow list, the
  /// allow list over the mode. [any thread]
  const char* refusal(const IpAddress& address) const noexcept;

  bool allows_everything() const noexcept { return mode_ == AddressMode::kAllowAll && deny_.empty(); }

 private:
  AddressMode mode_ = AddressMode::kAllowAll;
  std::vector<Cidr> allow_;
  std::vector<Cidr> deny_;
};

}  // namespace offloop::fetch
