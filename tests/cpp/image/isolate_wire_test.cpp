#include "image/isolate/wire.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace offloop::image::isolate {
namespace {

using Random = std::mt19937_64;

template <class T>
T any(Random& random) {
  return static_cast<T>(random());
}
bool coin(Random& random) {
  return (random() & 1) != 0;
}
template <class E>
E any_up_to(Random& random, E last) {
  return static_cast<E>(random() % (static_cast<unsigned>(last) + 1));
}

Step any_step(Random& random) {
  switch (random() % 7) {
    case 0:
      return AutoOrient{};
    case 1:
      return Rotate{any<std::uint16_t>(random)};
    case 2:
      return Flip{};
    case 3:
      return Flop{};
    case 4:
      return Crop{any<std::uint32_t>(random), any<std::uint32_t>(random), any<std::uint32_t>(random),
                  any<std::uint32_t>(random)};
    case 5:
      return Resize{any<std::uint32_t>(random),           any<std::uint32_t>(random),
                    any_up_to(random, Fit::kFill),        any_up_to(random, Position::kLeftTop),
                    any_up_to(random, Kernel::kLanczos3), coin(random)};
    default:
      return Greyscale{};
  }
}

Request any_request(Random& random, std::size_t steps) {
  Request request{any<std::uint64_t>(random), any<std::uint64_t>(random), any<std::int64_t>(random), {}};
  Recipe& recipe = request.recipe;
  for (std::size_t i = 0; i < steps; ++i) recipe.steps.push_back(any_step(random));
  recipe.output = {
      any_up_to(random, Format::kHeic),
      any<std::uint8_t>(random),
      any_up_to(random, Subsampling::k444),
      coin(random),
      coin(random),
      any<std::uint8_t>(random),
      any<std::uint8_t>(random),
      coin(random),
      coin(random),
      coin(random),
      coin(random),
      {any<std::uint8_t>(random), any<std::uint8_t>(random), any<std::uint8_t>(random), any<std::uint8_t>(random)}};
  recipe.limits = {any<std::uint64_t>(random), any<std::uint64_t>(random), any<std::uint32_t>(random),
                   any<std::uint32_t>(random), any<std::uint64_t>(random)};
  recipe.fail_on = any_up_to(random, FailOn::kNone);
  recipe.all_frames = coin(random);
  return request;
}

Answer any_answer(Random& random) {
  Answer answer;
  answer.id = any<std::uint64_t>(random);
  answer.error.code = any_up_to(random, ErrorCode::kInternal);
  answer.error.message = std::string(random() % 50, 'm');
  answer.error.context = std::string(random() % 50, 'c');
  answer.size = any<std::uint64_t>(random);
  answer.format = any_up_to(random, Format::kHeic);
  answer.width = any<std::uint32_t>(random);
  answer.height = any<std::uint32_t>(random);
  answer.frames = any<std::uint32_t>(random);
  answer.input = {any_up_to(random, Format::kHeic),
                  any<std::uint32_t>(random),
                  any<std::uint32_t>(random),
                  any<std::uint8_t>(random),
                  any<std::uint8_t>(random),
                  any<std::uint8_t>(random),
                  any_up_to(random, ColorSpace::kCmyk),
                  coin(random),
                  coin(random),
                  coin(random),
                  any<std::uint32_t>(random)};
  return answer;
}

// Every field of the source is in the bytes and every byte in a field: the bytes of what was read are the bytes that
// were read, and a change of any field changes them (EachFieldIsInTheMessage).
TEST(Wire, RequestsComeThroughWhole) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const Request sent = any_request(random, random() % 12);
    const auto message = encode(sent);
    const auto got = decode_request(message);
    ASSERT_TRUE(got);
    EXPECT_EQ(encode(*got), message);
    EXPECT_EQ(got->id, sent.id);
    EXPECT_EQ(got->deadline_ns, sent.deadline_ns);
    ASSERT_EQ(got->recipe.steps.size(), sent.recipe.steps.size());
    EXPECT_EQ(got->recipe.limits.max_output_pixels, sent.recipe.limits.max_output_pixels);
    EXPECT_EQ(got->recipe.output.background.alpha, sent.recipe.output.background.alpha);
    EXPECT_EQ(got->recipe.output.effort, sent.recipe.output.effort);
    EXPECT_FALSE(got->recipe.isolate);
    EXPECT_EQ(got->recipe.engine, Engine::kFast);
  }
}

TEST(Wire, EachFieldIsInTheMessage) {
  const Request plain{1, 2, 3, {}};
  std::vector<Request> changed(24, plain);
  std::size_t n = 0;
  const auto next = [&]() -> Request& { return changed.at(n++); };
  next().id = 9;
  next().size = 9;
  next().deadline_ns = 9;
  next().recipe.steps = {Flip{}};
  next().recipe.output.format = Format::kWebp;
  next().recipe.output.quality = 9;
  next().recipe.output.subsampling = Subsampling::k444;
  next().recipe.output.progressive = true;
  next().recipe.output.optimize = true;
  next().recipe.output.compression = 9;
  next().recipe.output.effort = 6;
  next().recipe.output.lossless = true;
  next().recipe.output.keep_metadata = true;
  next().recipe.output.keep_profile = true;
  next().recipe.output.flatten = true;
  next().recipe.output.background.red = 9;
  next().recipe.output.background.alpha = 9;
  next().recipe.limits.max_pixels = 9;
  next().recipe.limits.max_bytes = 9;
  next().recipe.limits.max_frames = 9;
  next().recipe.limits.max_scans = 9;
  next().recipe.limits.max_output_pixels = 9;
  next().recipe.fail_on = FailOn::kNone;
  next().recipe.all_frames = true;
  ASSERT_EQ(n, changed.size());
  std::set<std::vector<std::uint8_t>> messages{encode(plain)};
  for (const Request& request : changed) EXPECT_TRUE(messages.insert(encode(request)).second);
  // ... and comes out where it went in.
  for (const Request& request : changed) EXPECT_EQ(encode(decode_request(encode(request)).value()), encode(request));
}

TEST(Wire, AnswersComeThroughWhole) {
  Random random(2);
  for (int i = 0; i < 2000; ++i) {
    const Answer sent = any_answer(random);
    const auto got = decode_answer(encode(sent));
    ASSERT_TRUE(got);
    EXPECT_EQ(encode(*got), encode(sent));
    EXPECT_EQ(got->error.code, sent.error.code);
    EXPECT_EQ(got->error.message, sent.error.message);
    EXPECT_EQ(got->error.context, sent.error.context);
    EXPECT_EQ(got->size, sent.size);
    EXPECT_EQ(got->height, sent.height);
    EXPECT_EQ(got->input.orientation, sent.input.orientation);
    EXPECT_EQ(got->input.frames, sent.input.frames);
  }
}

TEST(Wire, LongTextIsCut) {
  Answer answer;
  answer.error = Error(ErrorCode::kImage, std::string(70'000, 'm'), std::string(70'000, 'c'));
  const auto message = encode(answer);
  EXPECT_LE(message.size(), 4096U);
  EXPECT_EQ(decode_answer(message).value().error.message, std::string(kMaxTextBytes, 'm'));
}

TEST(Wire, TheLongestRecipeFitsIntoAMessage) {
  Random random(3);
  Request request = any_request(random, 0);
  request.recipe.steps.assign(kMaxSteps, Resize{});
  EXPECT_TRUE(decode_request(encode(request)));
  request.recipe.steps.assign(kMaxSteps, Crop{});
  EXPECT_TRUE(decode_request(encode(request)));
  EXPECT_LE(encode(request).size(), kMaxMessageBytes);
  request.recipe.steps.assign(kMaxSteps + 1, Flip{});
  EXPECT_FALSE(decode_request(encode(request)));
}

TEST(Wire, AMessageThatIsCutOrLongerIsNone) {
  Random random(4);
  const auto request = encode(any_request(random, 9));
  const auto answer = encode(any_answer(random));
  const auto hello = encode(Hello{Setup::kFilter, 38, 2});
  for (auto message : {request, answer, hello}) {
    for (std::size_t n = 0; n < message.size(); ++n) {
      const ByteSpan cut(message.data(), n);
      EXPECT_FALSE(decode_request(cut) || decode_answer(cut) || decode_hello(cut)) << n;
    }
    message.push_back(0);
    EXPECT_FALSE(decode_request(message) || decode_answer(message) || decode_hello(message));
  }
}

TEST(Wire, AKindIsNotTakenForAnother) {
  Random random(5);
  const auto request = encode(any_request(random, 2));
  const auto answer = encode(any_answer(random));
  const auto hello = encode(Hello{});
  EXPECT_FALSE(decode_answer(request) || decode_hello(request));
  EXPECT_FALSE(decode_request(answer) || decode_hello(answer));
  EXPECT_FALSE(decode_request(hello) || decode_answer(hello));
}

// Flipped bytes: nothing, or something whose every field is in its range, which encoding it again shows.
TEST(Wire, FlippedBytesNeverMakeAValueThatCannotBe) {
  Random random(6);
  for (int i = 0; i < 20'000; ++i) {
    auto request = encode(any_request(random, random() % 6));
    auto answer = encode(any_answer(random));
    for (int flips = 0; flips < 3; ++flips) {
      request[random() % request.size()] = any<std::uint8_t>(random);
      answer[random() % answer.size()] = any<std::uint8_t>(random);
    }
    if (const auto got = decode_request(request)) {
      EXPECT_EQ(encode(*got), request);
      EXPECT_LE(got->recipe.output.format, Format::kHeic);
      for (const Step& step : got->recipe.steps) {
        if (const auto* resize = std::get_if<Resize>(&step)) {
          EXPECT_LE(resize->kernel, Kernel::kLanczos3);
        }
      }
    }
    if (const auto got = decode_answer(answer)) {
      EXPECT_EQ(encode(*got), answer);
      EXPECT_LE(got->error.code, ErrorCode::kInternal);
      EXPECT_LE(got->input.color_space, ColorSpace::kCmyk);
    }
  }
}

TEST(Wire, AnotherVersionIsRecognisedAsSuch) {
  auto message = encode(Hello{});
  EXPECT_EQ(wire_version(message), kWireVersion);
  message[4] = 77;
  EXPECT_EQ(wire_version(message), 77);
  EXPECT_FALSE(decode_hello(message));
  message[0] ^= 1;
  EXPECT_FALSE(wire_version(message));
  EXPECT_FALSE(wire_version({}));
}

}  // namespace
}  // namespace offloop::image::isolate
