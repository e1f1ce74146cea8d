// hashlib's names give hashlib's digests.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "offloop/hash/hash.h"
#include "support/counters_listener.h"
#include "support/hash_probe.h"

namespace offloop::hash {
namespace {

struct Known {
  const char* name;
  const char* openssl;
  const char* abc;  ///< hashlib.new(name, b"abc").hexdigest() of CPython 3.14
};

constexpr Known kKnown[] = {
    {"blake2b", "BLAKE2b512",
     "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925a"
     "b92386edd4009923"},
    {"blake2s", "BLAKE2s256", "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"},
    {"md5", "MD5", "900150983cd24fb0d6963f7d28e17f72"},
    {"ripemd160", "RIPEMD160", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"},
    {"sha1", "SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {"sha224", "SHA224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"},
    {"sha256", "SHA256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"sha384", "SHA384",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {"sha3_224", "SHA3-224", "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"},
    {"sha3_256", "SHA3-256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {"sha3_384", "SHA3-384",
     "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25"},
    {"sha3_512", "SHA3-512",
     "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a5"
     "6592f8274eec53f0"},
    {"sha512", "SHA512",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
     "2a9ac94fa54ca49f"},
    {"sha512_256", "SHA512-256", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"},
    {"sm3", "SM3", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"},
};

TEST(Algorithm, NamesAreSortedAndEachIsFound) {
  const std::vector<std::string> names = Algorithm::names();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end()) << "a name twice";
  for (const char* always : {"md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b"})
    EXPECT_EQ(std::count(names.begin(), names.end(), always), 1) << always;
  for (const std::string& name : names) {
    const auto found = Algorithm::find(name);
    ASSERT_TRUE(found.ok()) << name;
    EXPECT_EQ(found.value()->name(), name);
    EXPECT_EQ(Algorithm::find(name).value(), found.value()) << "one object a name";
    EXPECT_EQ(found.value()->has_lanes(), name == "sha256");
  }
  EXPECT_EQ(Algorithm::find("sha256").value(), &Algorithm::sha256());
}

TEST(Algorithm, EachNameIsHashlibsAlgorithmOfThatName) {
  const std::uint8_t abc[] = {'a', 'b', 'c'};
  const testing::Bytes long_message = testing::noise_bytes(600'001, 5);  // several quanta
  const std::vector<std::string> names = Algorithm::names();
  for (const std::string& name : names) {
    const Known* known =
        std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return name == k.name; });
    ASSERT_NE(known, std::end(kKnown)) << name << " has no known answer here";
    const Result<Digest> result = digest(abc, name).get();
    ASSERT_TRUE(result.ok()) << name;
    EXPECT_EQ(result.value().hex(), known->abc) << name;
    EXPECT_EQ(result.value().size, Algorithm::find(name).value()->digest_size()) << name;
    EXPECT_EQ(digest(long_message, name).get().value().hex(), testing::openssl_hex(long_message, known->openssl))
        << name;
    EXPECT_EQ(digest({}, name).get().value().hex(), testing::openssl_hex({}, known->openssl)) << name;
  }
}

TEST(Algorithm, AnUnknownNameIsRefusedWithTheListOfNames) {
  for (const char* wrong : {"sha257", "", "SHA256", "sha3-256", "shake_128"}) {
    const auto found = Algorithm::find(wrong);
    ASSERT_FALSE(found.ok()) << wrong;
    EXPECT_EQ(found.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(found.error().message.find("got '" + std::string(wrong) + "'"), std::string::npos)
        << found.error().message;
    for (const std::string& name : Algorithm::names())
      EXPECT_NE(found.error().message.find(name), std::string::npos) << name << " in: " << found.error().message;
  }
}

TEST(Digest, ComparesSizeAndBytes) {
  Digest a = sha256_now({});
  Digest b = a;
  EXPECT_TRUE(a == b);
  b.bytes[31] ^= 1;
  EXPECT_FALSE(a == b);
  b = a;
  b.size = 31;
  EXPECT_FALSE(a == b);
  EXPECT_EQ(a.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(a.span().size(), 32U);
}

}  // namespace
}  // namespace offloop::hash
