// The four content codings: however a stream is cut into pieces the same bytes come, and a stream that is cut short,
// longer than it should be or damaged is noticed.
#include "fetch/content_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "support/coded_text.h"

namespace offloop::fetch {
namespace {

using testing::Coded;
using testing::coded_texts;
using testing::gzip_packed;
using testing::plain_text;
using testing::zlib_packed;
using testing::zstd_packed;

std::unique_ptr<ContentDecoder> decoder_for(const std::string& lines) {
  HeaderBlock headers;
  headers.append_line(lines);
  auto decoder = make_content_decoder(headers);
  if (!decoder) {
    ADD_FAILURE() << decoder.error().message;
    return nullptr;
  }
  return std::move(decoder).value();
}

std::unique_ptr<ContentDecoder> decoder_of(const std::string& coding) {
  return decoder_for("Content-Encoding: " + coding + "\r\n");
}

Error refusal(const std::string& coding) {
  HeaderBlock headers;
  headers.append_line("Content-Encoding: " + coding + "\r\n");
  auto decoder = make_content_decoder(headers);
  return decoder ? Error() : decoder.error();
}

struct Decoded {
  std::string text;
  std::string broken;
  bool complete = false;
};

/// As the fetcher does it, with pieces of these sizes.
Decoded decode(ContentDecoder& decoder, std::string_view packed, std::size_t in_size = 1 << 20,
               std::size_t out_size = 1 << 20) {
  Decoded decoded;
  std::vector<std::uint8_t> out(out_size);
  while (!packed.empty()) {
    const std::string_view piece = packed.substr(0, in_size);
    packed.remove_prefix(piece.size());
    ByteSpan in(reinterpret_cast<const std::uint8_t*>(piece.data()), piece.size());
    for (;;) {
      const ContentDecoder::Step step = decoder.decode(in, out);
      in = in.subspan(step.consumed);
      decoded.text.append(reinterpret_cast<const char*>(out.data()), step.produced);
      EXPECT_FALSE(step.out_of_memory);
      if (step.broken != nullptr) {
        decoded.broken = step.broken;
        return decoded;
      }
      if (step.produced < out.size() && in.empty()) break;
    }
  }
  decoded.complete = decoder.complete();
  return decoded;
}

std::string twice_coded() {
  return gzip_packed(zstd_packed(plain_text()));
}

std::vector<Coded> all_texts() {
  std::vector<Coded> all = coded_texts();
  all.push_back({"zstd, gzip", twice_coded(), true});
  return all;
}

TEST(ContentDecoder, PiecesOfAnySizeGiveTheSameBytes) {
  for (const Coded& coded : all_texts()) {
    for (const std::size_t in_size : {1UL, 2UL, 3UL, 7UL, 64UL, 1UL << 20}) {
      for (const std::size_t out_size : {1UL, 13UL, 1000UL, 20'000UL, 1UL << 20}) {
        const Decoded decoded = decode(*decoder_of(coded.coding), coded.packed, in_size, out_size);
        ASSERT_EQ(decoded.broken, "") << coded.coding << " " << in_size << " " << out_size;
        ASSERT_TRUE(decoded.text == plain_text()) << coded.coding << " " << in_size << " " << out_size;
        ASSERT_TRUE(decoded.complete) << coded.coding << " " << in_size << " " << out_size;
      }
    }
  }
}

TEST(ContentDecoder, NoCutIsTakenForTheEnd) {
  for (const Coded& coded : all_texts()) {
    for (std::size_t size = 1; size < coded.packed.size(); ++size) {
      const Decoded decoded = decode(*decoder_of(coded.coding), coded.packed.substr(0, size));
      ASSERT_EQ(decoded.broken, "") << coded.coding << " " << size;
      ASSERT_FALSE(decoded.complete) << coded.coding << " " << size << " of " << coded.packed.size();
    }
  }
}

TEST(ContentDecoder, NothingIsAnEmptyBody) {
  for (const Coded& coded : all_texts()) EXPECT_TRUE(decoder_of(coded.coding)->complete()) << coded.coding;
}

TEST(ContentDecoder, WhatFollowsTheEndIsAnError) {
  for (const Coded& coded : all_texts()) {
    for (const std::size_t in_size : {1UL, 1UL << 20}) {
      for (const char* rest : {"x", "\n", "garbage", "\x1f"}) {
        const Decoded decoded = decode(*decoder_of(coded.coding), coded.packed + rest, in_size);
        EXPECT_TRUE(!decoded.complete) << coded.coding << " and " << rest;
      }
      EXPECT_NE(decode(*decoder_of(coded.coding), coded.packed + std::string(20, '\0'), in_size).broken, "");
    }
  }
}

TEST(ContentDecoder, MembersAndFramesFollowEachOther) {
  const std::string text = plain_text();
  for (const Coded& coded : {Coded{"gzip", gzip_packed(text), true}, Coded{"zstd", zstd_packed(text), true}}) {
    const std::string empty = coded.coding == "gzip" ? gzip_packed("") : zstd_packed("");
    const std::string packed = coded.packed + empty + empty + coded.packed;
    for (const std::size_t in_size : {1UL, 1UL << 20}) {
      for (const std::size_t out_size : {100UL, 1UL << 20}) {
        const Decoded decoded = decode(*decoder_of(coded.coding), packed, in_size, out_size);
        EXPECT_EQ(decoded.broken, "");
        EXPECT_TRUE(decoded.text == text + text);
        EXPECT_TRUE(decoded.complete);
      }
    }
    EXPECT_FALSE(decode(*decoder_of(coded.coding), packed.substr(0, packed.size() - 1)).complete);
    EXPECT_FALSE(decode(*decoder_of(coded.coding), coded.packed + coded.packed.substr(0, 5)).complete);
  }
}

TEST(ContentDecoder, NoDamageGivesOtherBytes) {
  const std::string text = plain_text();
  for (const Coded& coded : coded_texts()) {
    if (!coded.checked) continue;
    for (std::size_t bit = 0; bit < coded.packed.size() * 8; ++bit) {
      std::string packed = coded.packed;
      packed[bit / 8] = static_cast<char>(packed[bit / 8] ^ (1 << bit % 8));
      const Decoded decoded = decode(*decoder_of(coded.coding), packed);
      ASSERT_TRUE(!decoded.complete || decoded.text == text) << coded.coding << " bit " << bit;
    }
  }
}

TEST(ContentDecoder, AZlibStreamMayCallItselfGzip) {
  EXPECT_TRUE(decode(*decoder_of("gzip"), zlib_packed(plain_text(), 15)).complete);
}

TEST(ContentDecoder, AWindowBeyondWhatAClientMustTakeIsRefused) {
  const std::string text(std::size_t{9} << 20, 'x');
  const Decoded decoded = decode(*decoder_of("zstd"), zstd_packed(text, 24));
  EXPECT_NE(decoded.broken, "");
  EXPECT_TRUE(decode(*decoder_of("zstd"), zstd_packed(text, 23)).complete);
}

TEST(ContentDecoder, TheHeaderIsReadAsListsInAnyCase) {
  for (const char* none : {"Content-Type: gzip\r\n", "Content-Encoding: identity\r\n", "Content-Encoding: , ,\r\n"}) {
    EXPECT_EQ(decoder_for(none), nullptr) << none;
  }
  for (const char* gzip : {"content-encoding: GZip\r\n", "Content-Encoding: x-gzip\r\n",
                           "Content-Encoding: identity, gzip\r\n", "Content-Encoding:  \t gzip ,\r\n"}) {
    ASSERT_NE(decoder_for(gzip), nullptr) << gzip;
    EXPECT_STREQ(decoder_for(gzip)->name(), "gzip");
  }
  const auto two_lines = decoder_for("Content-Encoding: zstd\r\nX: y\r\nContent-Encoding: gzip\r\n");
  EXPECT_TRUE(decode(*two_lines, twice_coded()).complete);
}

TEST(ContentDecoder, UnknownAndTooManyCodingsAreRefused) {
  for (const char* coding : {"rot13", "gzip, compress", "gzip;q=1", "br, br, br"}) {
    EXPECT_EQ(refusal(coding).code, ErrorCode::kContentDecoding) << coding;
  }
  EXPECT_EQ(refusal("gzip, rot13").message, "content encoding 'rot13' is not known");
}

}  // namespace
}  // namespace offloop::fetch
