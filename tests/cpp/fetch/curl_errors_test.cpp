#include "fetch/curl_errors.h"

#include <gtest/gtest.h>

namespace offloop::fetch {
namespace {

TEST(CurlErrors, ATimeoutIsOneWhetherTheCodeOrTheWordsSayIt) {
  EXPECT_EQ(error_from_curl(CURLE_OPERATION_TIMEDOUT, "", true).code, ErrorCode::kFetchTimeout);
  const std::string words = "Operation timed out after 202 milliseconds with 58851006 bytes received";
  EXPECT_EQ(error_from_curl(CURLE_WRITE_ERROR, words, true).code, ErrorCode::kFetchTimeout);
  EXPECT_EQ(error_from_curl(CURLE_WRITE_ERROR, "Failed writing body", true).code, ErrorCode::kFetch);
}

TEST(CurlErrors, ALostConnectionIsOfTheBodyOnceTheAnswerHasBegun) {
  EXPECT_EQ(error_from_curl(CURLE_RECV_ERROR, "", false).code, ErrorCode::kConnect);
  EXPECT_EQ(error_from_curl(CURLE_RECV_ERROR, "", true).code, ErrorCode::kIncompleteBody);
}

}  // namespace
}  // namespace offloop::fetch
