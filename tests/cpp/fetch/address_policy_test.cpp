#include "offloop/fetch/address_policy.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <string>

#include "offloop/fetch/url.h"

namespace offloop::fetch {
namespace {

struct Case {
  const char* host;    // as it stands in a URL
  const char* reason;  // nullptr: public
};

// Every notation that reaches a socket, judged after libcurl's own reading of the host.
constexpr Case kCases[] = {
    // Public ones stay allowed.
    {"8.8.8.8", nullptr},
    {"1.1.1.1", nullptr},
    {"9.255.255.255", nullptr},
    {"11.0.0.0", nullptr},
    {"100.63.255.255", nullptr},
    {"100.128.0.0", nullptr},
    {"126.255.255.255", nullptr},
    {"128.0.0.1", nullptr},
    {"169.253.255.255", nullptr},
    {"172.15.255.255", nullptr},
    {"172.32.0.0", nullptr},
    {"192.167.255.255", nullptr},
    {"198.17.255.255", nullptr},
    {"198.20.0.0", nullptr},
    {"223.255.255.255", nullptr},
    {"[2606:4700:4700::1111]", nullptr},
    {"[2a00:1450:4001:80b::200e]", nullptr},
    {"[::ffff:8.8.8.8]", nullptr},
    {"[64:ff9b::808:808]", nullptr},
    // Loopback in its many forms.
    {"127.0.0.1", "loopback"},
    {"127.255.255.255", "loopback"},
    {"127.1", "loopback"},
    {"127.0.1", "loopback"},
    {"2130706433", "loopback"},
    {"0x7f000001", "loopback"},
    {"0x7f.1", "loopback"},
    {"0x7F.0x0.0x0.0x1", "loopback"},
    {"0177.0.0.1", "loopback"},
    {"017700000001", "loopback"},
    {"0177.0.0.01", "loopback"},
    {"[::1]", "loopback"},
    {"[0:0:0:0:0:0:0:1]", "loopback"},
    {"[::ffff:127.0.0.1]", "loopback"},
    {"[::ffff:7f00:1]", "loopback"},
    {"[0:0:0:0:0:ffff:7f00:0001]", "loopback"},
    // This network, private, carrier-grade.
    {"0.0.0.0", "this network"},
    {"0", "this network"},
    {"0x0", "this network"},
    {"0.1.2.3", "this network"},
    {"[::]", "unspecified address"},
    {"10.0.0.0", "private network"},
    {"10.255.255.255", "private network"},
    {"167772161", "private network"},  // 10.0.0.1
    {"0x0a.0.0.1", "private network"},
    {"012.0.0.1", "private network"},
    {"172.16.0.1", "private network"},
    {"172.31.255.255", "private network"},
    {"192.168.0.1", "private network"},
    {"3232235521", "private network"},  // 192.168.0.1
    {"192.168.257", "private network"},
    {"[::ffff:192.168.0.1]", "private network"},
    {"100.64.0.0", "carrier-grade NAT"},
    {"100.100.100.200", "carrier-grade NAT"},
    {"100.127.255.255", "carrier-grade NAT"},
    // Cloud metadata and link-local.
    {"169.254.169.254", "link-local"},
    {"2852039166", "link-local"},
    {"0xa9fea9fe", "link-local"},
    {"0251.0376.0251.0376", "link-local"},
    {"169.254.43518", "link-local"},
    {"[::ffff:a9fe:a9fe]", "link-local"},
    {"168.63.129.16", "cloud metadata"},
    {"[fe80::1]", "link-local"},
    {"[febf::1]", "link-local"},
    {"[fec0::1]", "site-local"},
    {"[fc00::1]", "unique-local"},
    {"[fd00:ec2::254]", "unique-local"},
    // Documentation, benchmarks, multicast, reserved.
    {"192.0.0.8", "protocol assignments"},
    {"192.0.2.1", "documentation"},
    {"192.88.99.1", "6to4 relay"},
    {"198.18.0.1", "benchmarking"},
    {"198.19.255.255", "benchmarking"},
    {"198.51.100.1", "documentation"},
    {"203.0.113.1", "documentation"},
    {"224.0.0.1", "multicast"},
    {"239.255.255.255", "multicast"},
    {"240.0.0.1", "reserved or broadcast"},
    {"255.255.255.255", "reserved or broadcast"},
    {"4294967295", "reserved or broadcast"},
    {"[ff02::1]", "multicast"},
    {"[2001:db8::1]", "documentation"},
    {"[3fff::1]", "documentation"},
    {"[3fff:fff::1]", "documentation"},
    {"[100::1]", "not global unicast"},
    {"[5f00::1]", "not global unicast"},
    {"[4000::1]", "not global unicast"},
    // IPv4 inside IPv6.
    {"[::127.0.0.1]", "IPv4-compatible"},
    {"[::7f00:1]", "IPv4-compatible"},
    {"[::8.8.8.8]", "IPv4-compatible"},
    {"[64:ff9b::7f00:1]", "NAT64 of a non-public address"},
    {"[64:ff9b::10.0.0.1]", "NAT64 of a non-public address"},
    {"[64:ff9b::169.254.169.254]", "NAT64 of a non-public address"},
    {"[64:ff9b:1::1]", "local NAT64"},
    {"[64:ff9b:1:ffff:ffff:ffff:808:808]", "local NAT64"},
    {"[64:ff9b:2::808:808]", "not global unicast"},
    {"[2002:7f00:1::]", "6to4"},
    {"[2002:a9fe:a9fe::1]", "6to4"},
    {"[2002:808:808::1]", "6to4"},
    {"[2001::1]", "Teredo"},
    {"[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "Teredo"},
    {"[2001:2::1]", "protocol assignments"},
    {"[2001:10::1]", "protocol assignments"},
    {"[2001:1ff:ffff::1]", "protocol assignments"},
    {"[2606:4700::5efe:10.0.0.1]", "ISATAP of a non-public address"},
    {"[2606:4700::200:5efe:127.0.0.1]", "ISATAP of a non-public address"},
};

TEST(AddressPolicy, JudgesEveryNotationByTheAddressThatItMeans) {
  static_assert(std::size(kCases) >= 60);
  for (const Case& test : kCases) {
    const Result<Url> url = parse_url(std::string("http://") + test.host + "/");
    ASSERT_TRUE(url.ok()) << test.host << ": " << url.error().message;
    ASSERT_TRUE(url.value().literal) << test.host << " read as the name " << url.value().host;
    const std::optional<IpAddress> address = IpAddress::parse(url.value().host);
    ASSERT_TRUE(address) << test.host;
    const char* reason = non_public_reason(*address);
    EXPECT_STREQ(reason, test.reason) << test.host;
  }
}

TEST(AddressPolicy, AllowsEverythingByDefault) {
  const AddressPolicy policy;
  EXPECT_TRUE(policy.allows_everything());
  EXPECT_EQ(policy.refusal(*IpAddress::parse("127.0.0.1")), nullptr);
}

TEST(AddressPolicy, DenyWinsOverAllowAndAllowOverTheMode) {
  const auto policy =
      AddressPolicy::create(AddressMode::kPublicOnly, {"10.0.0.0/8", "fd00::/8"}, {"10.1.0.0/16", "8.8.8.0/24"});
  ASSERT_TRUE(policy.ok());
  const auto refusal = [&](const char* text) { return policy.value().refusal(*IpAddress::parse(text)); };
  EXPECT_EQ(refusal("10.2.3.4"), nullptr);
  EXPECT_STREQ(refusal("10.1.3.4"), "denied");
  EXPECT_STREQ(refusal("8.8.8.8"), "denied");
  EXPECT_EQ(refusal("8.8.9.8"), nullptr);
  EXPECT_EQ(refusal("fd12::1"), nullptr);
  EXPECT_STREQ(refusal("fc12::1"), "unique-local");
  EXPECT_STREQ(refusal("127.0.0.1"), "loopback");
}

TEST(AddressPolicy, AnAllowedNetworkIsNotReachedThroughAnEmbeddedAddress) {
  const auto policy = AddressPolicy::create(AddressMode::kPublicOnly, {"10.0.0.0/8"}, {});
  ASSERT_TRUE(policy.ok());
  EXPECT_EQ(policy.value().refusal(*IpAddress::parse("::ffff:10.0.0.1")), nullptr);  // the kernel connects to 10.0.0.1
  EXPECT_NE(policy.value().refusal(*IpAddress::parse("64:ff9b::a00:1")), nullptr);
}

TEST(AddressPolicy, ADenyListAloneIsEnforced) {
  const auto policy = AddressPolicy::create(AddressMode::kAllowAll, {}, {"127.0.0.0/8"});
  ASSERT_TRUE(policy.ok());
  EXPECT_FALSE(policy.value().allows_everything());
  EXPECT_STREQ(policy.value().refusal(*IpAddress::parse("127.0.0.1")), "denied");
}

TEST(Cidr, PrefixesThatAreNoWholeBytesMatchByBits) {
  const Cidr block = Cidr::parse("100.64.0.0/10").value();
  EXPECT_TRUE(block.contains(*IpAddress::parse("100.127.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("100.128.0.0")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0").value().contains(*IpAddress::parse("1.2.3.4")));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0").value().contains(*IpAddress::parse("2606::1")));
  EXPECT_TRUE(Cidr::parse("::ffff:10.0.0.0/104").value().contains(*IpAddress::parse("10.9.9.9")));
  EXPECT_TRUE(Cidr::parse("10.0.0.1").value().contains(*IpAddress::parse("10.0.0.1")));
  EXPECT_FALSE(Cidr::parse("10.0.0.1").value().contains(*IpAddress::parse("10.0.0.2")));
}

TEST(Cidr, RefusesWhatIsNoBlockAndNamesIt) {
  for (const char* text : {"", "10", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "10.0.0.0/8 ", "::/129",
                           "localhost", "127.1/8", "::ffff:10.0.0.0/8"}) {
    const Result<Cidr> cidr = Cidr::parse(text);
    ASSERT_FALSE(cidr.ok()) << text;
    EXPECT_EQ(cidr.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(cidr.error().message.find(std::string("'") + text + "'"), std::string::npos) << cidr.error().message;
  }
}

TEST(IpAddress, ComesFromSocketAddresses) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto address = IpAddress::from_sockaddr(reinterpret_cast<const sockaddr*>(&in));
  ASSERT_TRUE(address);
  EXPECT_STREQ(non_public_reason(*address), "loopback");
  sockaddr other{};
  other.sa_family = AF_UNIX;
  EXPECT_FALSE(IpAddress::from_sockaddr(&other));
}

}  // namespace
}  // namespace offloop::fetch
