#include "offloop/base/error.h"

#include <gtest/gtest.h>
#include <netdb.h>

#include <set>
#include <string>

#include "offloop/base/counters.h"

namespace offloop {
namespace {

constexpr auto kLast = static_cast<unsigned>(ErrorCode::kInternal);

TEST(ErrorNames, EveryCodeHasANameOfItsOwn) {
  std::set<std::string> names;
  for (unsigned code = 0; code <= kLast; ++code) {
    const std::string name = error_code_name(static_cast<ErrorCode>(code));
    EXPECT_NE(name, "Unknown") << code;
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
  }
}

TEST(ErrorNames, AreTheEnumeratorsWithoutTheirK) {
  EXPECT_STREQ(error_code_name(ErrorCode::kInvalidUrl), "InvalidUrl");
  EXPECT_STREQ(error_code_name(ErrorCode::kPoolClosed), "PoolClosed");
  EXPECT_STREQ(error_code_name(ErrorCode::kInternal), "Internal");
}

TEST(ErrorNames, ACodeFromTheFutureIsUnknownNotACrash) {
  EXPECT_STREQ(error_code_name(static_cast<ErrorCode>(250)), "Unknown");
}

TEST(Retryable, AreTheFaultsOfTheMomentOnly) {
  EXPECT_TRUE(is_retryable(ErrorCode::kFetchTimeout));
  EXPECT_TRUE(is_retryable(ErrorCode::kConnect));
  EXPECT_TRUE(is_retryable(ErrorCode::kPoolSaturated));
  for (const ErrorCode code :
       {ErrorCode::kOk, ErrorCode::kInvalidArgument, ErrorCode::kInvalidUrl, ErrorCode::kPoolClosed,
        ErrorCode::kStopped, ErrorCode::kFetch, ErrorCode::kDns, ErrorCode::kHttpStatus, ErrorCode::kTls,
        ErrorCode::kTooManyRedirects, ErrorCode::kBodyTooLarge, ErrorCode::kBlockedAddress, ErrorCode::kHashMismatch,
        ErrorCode::kInternal})
    EXPECT_FALSE(is_retryable(code)) << error_code_name(code);
}

TEST(Retryable, DependsOnTheStatusAndOnWhyANameWasNotResolved) {
  EXPECT_TRUE(is_retryable(Error(ErrorCode::kHttpStatus, "HTTP status 503", "http://h/", 503)));
  EXPECT_FALSE(is_retryable(Error(ErrorCode::kHttpStatus, "HTTP status 404", "http://h/", 404)));
  EXPECT_TRUE(is_retryable(Error(ErrorCode::kDns, "try again", "http://h/", EAI_AGAIN)));
  EXPECT_FALSE(is_retryable(Error(ErrorCode::kDns, "no such name", "http://h/", EAI_NONAME)));
  EXPECT_TRUE(is_retryable(Error(ErrorCode::kConnect, "refused")));
}

TEST(CountedNames, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (unsigned kind = 0; kind < kCountedKinds; ++kind) {
    const std::string name = counted_name(static_cast<Counted>(kind));
    EXPECT_NE(name, "unknown") << kind;
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
  }
}

}  // namespace
}  // namespace offloop
