#include "offloop/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace offloop {
namespace {

TEST(ResultOf, AValueIsOkAndCanBeTaken) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(static_cast<bool>(result));
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(ResultOf, AnErrorKeepsItsFourParts) {
  const Result<int> result = Error(ErrorCode::kIo, "cannot open", "/no/such/file", 2);
  ASSERT_FALSE(result.ok());
  EXPECT_FALSE(static_cast<bool>(result));
  EXPECT_EQ(result.error().code, ErrorCode::kIo);
  EXPECT_EQ(result.error().message, "cannot open");
  EXPECT_EQ(result.error().context, "/no/such/file");
  EXPECT_EQ(result.error().system, 2);
}

TEST(ResultOf, AValueCanReplaceAnError) {
  Result<std::string> result = Error(ErrorCode::kInternal, "not yet");
  result = std::string("done");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.value(), "done");
  result.value() += "!";
  EXPECT_EQ(result.value(), "done!");
}

TEST(ResultOf, AResultWhoseValueTypeIsAnErrorsNeighbourStillKnowsWhichItIs) {
  const Result<bool> no = false;  // a value that is false is not a failure
  EXPECT_TRUE(no.ok());
  EXPECT_FALSE(no.value());
}

TEST(ErrorOf, ADefaultErrorIsOk) {
  const Error none;
  EXPECT_EQ(none.code, ErrorCode::kOk);
  EXPECT_TRUE(none.message.empty());
}

}  // namespace
}  // namespace offloop
