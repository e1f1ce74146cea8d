#include "offloop/base/bytes.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace offloop {
namespace {

TEST(Bytes, HexIsLowerCaseTwoCharactersAByte) {
  const std::vector<std::uint8_t> bytes = {0x00, 0x0f, 0x9a, 0xbc, 0xff};
  EXPECT_EQ(to_hex(bytes), "000f9abcff");
}

TEST(Bytes, HexOfNothingIsEmpty) {
  EXPECT_EQ(to_hex({}), "");
}

TEST(Bytes, EveryByteHasItsOwnHex) {
  for (unsigned value = 0; value < 256; ++value) {
    const auto byte = static_cast<std::uint8_t>(value);
    const std::string hex = to_hex({&byte, 1});
    ASSERT_EQ(std::stoul(hex, nullptr, 16), value) << hex;
    ASSERT_EQ(hex.find_first_not_of("0123456789abcdef"), std::string::npos) << hex;
  }
}

TEST(Bytes, HexOfManyBytesIsThatOfEach) {
  std::vector<std::uint8_t> bytes;
  std::string expected;
  for (unsigned i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<std::uint8_t>(i * 89));
    expected += to_hex({&bytes.back(), 1});
  }
  for (std::size_t n = 0; n <= bytes.size(); ++n) ASSERT_EQ(to_hex({bytes.data(), n}), expected.substr(0, 2 * n)) << n;
}

TEST(Bytes, WriteHexWritesNoTerminatorAndNothingBeyond) {
  const std::uint8_t bytes[] = {0xde, 0xad};
  char out[6] = {'#', '#', '#', '#', '#', '#'};
  write_hex(bytes, 2, out);
  EXPECT_EQ(std::string(out, 6), "dead##");
}

}  // namespace
}  // namespace offloop
