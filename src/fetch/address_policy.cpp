#include "offloop/fetch/address_policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

namespace offloop::fetch {
namespace {

struct Range4 {
  std::uint32_t base;
  unsigned prefix_bits;
  const char* reason;
};

constexpr std::uint32_t v4(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// IANA IPv4 Special-Purpose Address Registry, all that is not globally reachable, and one public address that is not
// public in effect: 168.63.129.16 is the control plane of every Azure machine.
constexpr Range4 kNonPublic4[] = {
    {v4(0, 0, 0, 0), 8, "this network"},          {v4(10, 0, 0, 0), 8, "private network"},
    {v4(100, 64, 0, 0), 10, "carrier-grade NAT"}, {v4(127, 0, 0, 0), 8, "loopback"},
    {v4(168, 63, 129, 16), 32, "cloud metadata"}, {v4(169, 254, 0, 0), 16, "link-local"},
    {v4(172, 16, 0, 0), 12, "private network"},   {v4(192, 0, 0, 0), 24, "protocol assignments"},
    {v4(192, 0, 2, 0), 24, "documentation"},      {v4(192, 88, 99, 0), 24, "6to4 relay"},
    {v4(192, 168, 0, 0), 16, "private network"},  {v4(198, 18, 0, 0), 15, "benchmarking"},
    {v4(198, 51, 100, 0), 24, "documentation"},   {v4(203, 0, 113, 0), 24, "documentation"},
    {v4(224, 0, 0, 0), 4, "multicast"},           {v4(240, 0, 0, 0), 4, "reserved or broadcast"},
};

std::uint32_t load4(const std::uint8_t* bytes) {
  return v4(bytes[0], bytes[1], bytes[2], bytes[3]);
}

const char* reason4(std::uint32_t address) noexcept {
  for (const Range4& range : kNonPublic4) {
    if ((address ^ range.base) >> (32 - range.prefix_bits) == 0) return range.reason;
  }
  return nullptr;
}

bool starts_with(const std::array<std::uint8_t, 16>& bytes, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

const char* reason6(const std::array<std::uint8_t, 16>& b) noexcept {
  constexpr std::uint8_t kZeros[16] = {};
  if (std::memcmp(b.data(), kZeros, 12) ==
      0) {  // ::/96: unspecified, loopback, "IPv4-compatible" (RFC 4291, deprecated)
    if (load4(&b[12]) == 1) return "loopback";
    return load4(&b[12]) == 0 ? "unspecified address" : "IPv4-compatible";
  }
  // NAT64 (RFC 6052): a translator connects to the IPv4 address in the last four bytes. The local-use prefix of RFC
  // 8215 may hide it anywhere, so it is refused as a whole.
  if (starts_with(b, {0x00, 0x64, 0xff, 0x9b}) && std::memcmp(&b[4], kZeros, 8) == 0) {
    return reason4(load4(&b[12])) != nullptr ? "NAT64 of a non-public address" : nullptr;
  }
  if (starts_with(b, {0x00, 0x64, 0xff, 0x9b, 0x00, 0x01})) return "local NAT64";
  if (b[0] == 0xff) return "multicast";
  if ((b[0] & 0xfe) == 0xfc) return "unique-local";
  if (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) return "link-local";
  if (b[0] == 0xfe && (b[1] & 0xc0) == 0xc0) return "site-local";
  if ((b[0] & 0xe0) != 0x20) return "not global unicast";  // only 2000::/3 is
  if (starts_with(b, {0x20, 0x01, 0x00, 0x00})) return "Teredo";
  if (starts_with(b, {0x20, 0x01}) && b[2] < 2) return "protocol assignments";  // 2001::/23: benchmarking, ORCHID, ...
  if (starts_with(b, {0x20, 0x01, 0x0d, 0xb8})) return "documentation";
  if (starts_with(b, {0x20, 0x02})) return "6to4";
  if (starts_with(b, {0x3f, 0xff}) && b[2] < 0x10) return "documentation";  // 3fff::/20, RFC 9637
  // ISATAP (RFC 5214): interface identifier [02]00:5efe and an IPv4 address.
  if ((b[8] & 0xfd) == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe && reason4(load4(&b[12])) != nullptr) {
    return "ISATAP of a non-public address";
  }
  return nullptr;
}

IpAddress from_bytes6(const std::uint8_t* bytes) {
  constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  IpAddress address;
  if (std::memcmp(bytes, kMapped, sizeof kMapped) == 0) {
    std::copy_n(bytes + 12, 4, address.bytes.begin());
  } else {
    address.v6 = true;
    std::copy_n(bytes, 16, address.bytes.begin());
  }
  return address;
}

bool any_contains(const std::vector<Cidr>& list, const IpAddress& address) noexcept {
  return std::any_of(list.begin(), list.end(), [&](const Cidr& cidr) { return cidr.contains(address); });
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string copy(text);  // inet_pton wants a terminator
  std::uint8_t bytes[16];
  if (copy.size() != std::strlen(copy.c_str())) return std::nullopt;
  if (inet_pton(AF_INET, copy.c_str(), bytes) == 1) {
    IpAddress address;
    std::copy_n(bytes, 4, address.bytes.begin());
    return address;
  }
  if (inet_pton(AF_INET6, copy.c_str(), bytes) == 1) return from_bytes6(bytes);
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::from_sockaddr(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    IpAddress result;
    std::memcpy(result.bytes.data(), &in.sin_addr, 4);
    return result;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, address, sizeof in);
    return from_bytes6(in.sin6_addr.s6_addr);
  }
  return std::nullopt;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const auto bad = [&](const char* why) {
    return Error(ErrorCode::kInvalidArgument, std::string(why) + ", got '" + std::string(text) + "'");
  };
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const std::optional<IpAddress> base = IpAddress::parse(host);
  if (!base) return bad("expected an address or a CIDR block such as 10.0.0.0/8");
  Cidr cidr{*base, base->v6 ? 128U : 32U};
  if (slash == std::string_view::npos) return cidr;

  const std::string_view bits = text.substr(slash + 1);
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), prefix);
  const bool mapped = !base->v6 && host.find(':') != std::string_view::npos;  // ::ffff:10.0.0.0/104 is 10.0.0.0/8
  if (mapped && prefix < 96) return bad("a mapped IPv4 block needs a prefix of 96 or more");
  if (mapped) prefix -= 96;
  if (error != std::errc{} || end != bits.data() + bits.size() || prefix > cidr.prefix_bits) {
    return bad(base->v6 ? "prefix must be 0 to 128" : "prefix must be 0 to 32");
  }
  cidr.prefix_bits = prefix;
  return cidr;
}

bool Cidr::contains(const IpAddress& address) const noexcept {
  if (address.v6 != base.v6) return false;
  const std::size_t whole = prefix_bits / 8;
  if (!std::equal(base.bytes.begin(), base.bytes.begin() + static_cast<std::ptrdiff_t>(whole), address.bytes.begin())) {
    return false;
  }
  const unsigned rest = prefix_bits % 8;
  return rest == 0 || (base.bytes[whole] ^ address.bytes[whole]) >> (8 - rest) == 0;
}

const char* non_public_reason(const IpAddress& address) noexcept {
  return address.v6 ? reason6(address.bytes) : reason4(load4(address.bytes.data()));
}

Result<AddressPolicy> AddressPolicy::create(AddressMode mode, const std::vector<std::string>& allow_cidrs,
                                            const std::vector<std::string>& deny_cidrs) {
  AddressPolicy policy;
  policy.mode_ = mode;
  const auto parse_list = [](const std::vector<std::string>& texts, const char* option, std::vector<Cidr>& out) {
    for (const std::string& text : texts) {
      Result<Cidr> cidr = Cidr::parse(text);
      if (!cidr) {
        return Error(ErrorCode::kInvalidArgument, std::string(option) + ": " + cidr.error().message);
      }
      out.push_back(cidr.value());
    }
    return Error();
  };
  if (Error error = parse_list(allow_cidrs, "allow_cidrs", policy.allow_); error.code != ErrorCode::kOk) return error;
  if (Error error = parse_list(deny_cidrs, "deny_cidrs", policy.deny_); error.code != ErrorCode::kOk) return error;
  return policy;
}

const char* AddressPolicy::refusal(const IpAddress& address) const noexcept {
  if (any_contains(deny_, address)) return "denied";
  if (mode_ == AddressMode::kAllowAll || any_contains(allow_, address)) return nullptr;
  return non_public_reason(address);
}

}  // namespace offloop::fetch
