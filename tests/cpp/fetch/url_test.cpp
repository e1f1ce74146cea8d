#include "offloop/fetch/url.h"

#include <gtest/gtest.h>

#include <clocale>
#include <string>

namespace offloop::fetch {
namespace {

TEST(Url, ReadsHostPortAndScheme) {
  struct Case {
    const char* text;
    const char* host;
    int port;
    bool https;
    bool literal;
  };
  for (const Case& test : {
           Case{"http://example.test", "example.test", 80, false, false},
           Case{"https://example.test/", "example.test", 443, true, false},
           Case{"http://example.test:8080/a?b#c", "example.test", 8080, false, false},
           Case{"https://example.test?x", "example.test", 443, true, false},
           Case{"HTTP://EXAMPLE.Test/", "example.test", 80, false, false},
           Case{"http://user:secret@example.test:81/", "example.test", 81, false, false},
           Case{"http://127.0.0.1:9/", "127.0.0.1", 9, false, true},
           Case{"http://[::1]:9/", "::1", 9, false, true},
           Case{"http://0x7f.1/", "127.0.0.1", 80, false, true},
           Case{"http://1.2.3.4.example.test/", "1.2.3.4.example.test", 80, false, false},
           Case{"http://a_b.test/", "a_b.test", 80, false, false},
       }) {
    const Result<Url> url = parse_url(test.text);
    ASSERT_TRUE(url.ok()) << test.text << ": " << url.error().message;
    EXPECT_EQ(url.value().host, test.host) << test.text;
    EXPECT_EQ(url.value().port, test.port) << test.text;
    EXPECT_EQ(url.value().https, test.https) << test.text;
    EXPECT_EQ(url.value().literal, test.literal) << test.text;
  }
}

TEST(Url, InternationalHostsAreConvertedInAUtf8Locale) {
  const std::string text =
      "http://b\xc3\xbc"
      "cher.test/";
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) GTEST_SKIP() << "no UTF-8 locale";
  const Result<Url> url = parse_url(text);
  std::setlocale(LC_CTYPE, "C");
  ASSERT_TRUE(url.ok()) << url.error().message;
  EXPECT_EQ(url.value().host, "xn--bcher-kva.test");
  EXPECT_EQ(url.value().text, "http://xn--bcher-kva.test/");
  // libcurl converts by the locale; elsewhere the error says what to do instead.
  const Result<Url> refused = parse_url(text);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("xn--"), std::string::npos);
}

TEST(Url, RefusesWhatItCannotFetchAndSaysWhy) {
  struct Case {
    std::string text;
    const char* why;
  };
  for (const Case& test : {
           Case{"", "empty"},
           Case{"example.test/x", "http://"},
           Case{"/path", "http://"},
           Case{"ftp://example.test/", "scheme"},
           Case{"file:///etc/passwd", "scheme"},
           Case{"gopher://example.test/", "scheme"},
           Case{"javascript://x", "scheme"},
           Case{"http:///path", "host"},
           Case{"http://", "host"},
           Case{"http://:80/", "host"},
           Case{"http://example.test:0/", "port"},
           Case{"http://example.test:65536/", "port"},
           Case{"http://example.test:99999999999/", "port"},
           Case{"http://example.test:http/", "port"},
           Case{"http://example.test:-1/", "port"},
           Case{"http://exa mple.test/", "blank"},
           Case{" http://example.test/", "blank"},
           Case{"http://example.test/\r\nX: y", "blank or control"},
           Case{"http://example.test/\t", "blank or control"},
           Case{std::string("http://example.test/\0x", 22), "blank or control"},
           Case{"http://public.test\\@private.test/", "backslash"},
           Case{"http://[::1", "URL"},
           Case{"http://[:::1]/", ""},
           Case{"http://[fe80::1%25eth0]/", "zone"},
           Case{"http://exa%00mple.test/", "host"},
           Case{"http://a..b.test/", "empty label"},
           Case{"http://.test/", "empty label"},
           Case{"http://" + std::string(300, 'a') + ".test/", "host"},
           Case{"http://example.test/" + std::string(70000, 'a'), "65536"},
       }) {
    const Result<Url> url = parse_url(test.text);
    ASSERT_FALSE(url.ok()) << test.text << " read as " << url.value().host;
    EXPECT_EQ(url.error().code, ErrorCode::kInvalidUrl) << test.text;
    EXPECT_NE(url.error().message.find(test.why), std::string::npos) << test.text << ": " << url.error().message;
    EXPECT_FALSE(check_url(test.text).ok());
  }
}

TEST(Url, TheQuickReaderAndLibcurlAgree) {
  // The same address with user information goes through libcurl's reader.
  for (const char* rest : {"example.test", "a.b.c:81/x", "127.0.0.1/", "10.20.30.40:1", "x-1.test?q", "t.test#f"}) {
    const Result<Url> quick = parse_url("http://" + std::string(rest));
    const Result<Url> general = parse_url("http://u@" + std::string(rest));
    ASSERT_TRUE(quick.ok() && general.ok()) << rest;
    EXPECT_EQ(quick.value().host, general.value().host);
    EXPECT_EQ(quick.value().port, general.value().port);
    EXPECT_EQ(quick.value().literal, general.value().literal);
    EXPECT_TRUE(general.value().has_userinfo);
  }
}

TEST(Url, ReferencesAreReadAgainstTheirPage) {
  const Url base = parse_url("https://user:secret@one.test/a/b?c").value();
  const auto joined = [&](const char* reference) { return join_url(base, reference).value(); };
  EXPECT_EQ(joined("/x").text, "https://user:secret@one.test/x");
  EXPECT_EQ(joined("x").text, "https://user:secret@one.test/a/x");
  EXPECT_TRUE(joined("?q").same_origin(base));
  EXPECT_EQ(joined("//two.test/x").host, "two.test");
  EXPECT_FALSE(joined("//two.test/x").has_userinfo);
  EXPECT_FALSE(joined("https://one.test/x").has_userinfo);
  EXPECT_TRUE(joined("https://one.test/x").same_origin(base));
  EXPECT_FALSE(joined("http://one.test/x").same_origin(base));
  EXPECT_FALSE(joined("https://one.test:444/x").same_origin(base));
  EXPECT_EQ(joined("/with blank").text, "https://user:secret@one.test/with%20blank");
  EXPECT_FALSE(join_url(base, "ftp://two.test/").ok());
  EXPECT_FALSE(join_url(base, "file:///etc/passwd").ok());
}

TEST(Url, PasswordsAreHiddenInMessages) {
  EXPECT_EQ(redact_url("http://user:secret@host/p@th:1"), "http://user:***@host/p@th:1");
  EXPECT_EQ(redact_url("http://user@host/"), "http://user@host/");
  EXPECT_EQ(redact_url("http://host/a:b@c"), "http://host/a:b@c");
  const Result<Url> bad = parse_url("ftp://user:secret@host/");
  EXPECT_EQ(bad.error().context.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace offloop::fetch
