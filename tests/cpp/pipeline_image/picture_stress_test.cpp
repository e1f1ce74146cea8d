// Pictures from many threads at once, with storms of stops, while the pixel budget lets few of them run: each ends
// once, right or stopped, and what it held is given back. For ThreadSanitizer above all.
#include "offloop/pipeline/image.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "image/budget.h"
#include "offloop/image/budget.h"
#include "support/counters_listener.h"
#include "support/image_pictures.h"
#include "support/test_pool.h"

namespace offloop::pipeline {
namespace {

using image::testing::encoded;
using image::testing::natural;

constexpr int kWidth = 160;
constexpr int kHeight = 120;
constexpr std::uint64_t kPixels = std::uint64_t{kWidth} * kHeight;

PictureRequest small_and_hashed() {
  PictureRequest request;
  request.recipe.steps.emplace_back(image::Resize{.width = 40, .height = 30});
  request.hash = true;
  return request;
}

class PictureStress : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::resize_pool(3));
    image::set_max_pixels_in_flight(kPixels + kPixels / 2);  // one at a time, and never two
  }
  void TearDown() override {
    EXPECT_EQ(image::pixels_in_flight(), 0U);
    image::set_max_pixels_in_flight(image::kDefaultPixelsInFlight);
  }

  const image::Bytes jpeg_ = encoded(natural(kWidth, kHeight, image::Model::kRgb, 1), {});
  const ByteSpan bytes_{jpeg_.data(), jpeg_.size()};
};

TEST_F(PictureStress, EachEndsOnceRightOrStopped) {
  Result<Picture> alone = process_picture(bytes_, small_and_hashed()).get();
  ASSERT_TRUE(alone.ok()) << alone.error().message;
  ASSERT_EQ(alone.value().image.width, 40);
  const std::string right = alone.value().digest->hex();

  constexpr unsigned kThreads = 4;
  constexpr unsigned kEach = 60;
  std::atomic<unsigned> made{0};
  std::atomic<unsigned> stopped{0};
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t + 1);
      std::vector<Operation<Picture>> operations;
      for (unsigned i = 0; i < kEach; ++i) {
        operations.push_back(process_picture(bytes_, small_and_hashed()));
        if (random() % 3 == 0) operations[random() % operations.size()].request_stop();
      }
      for (auto& operation : operations) {
        Result<Picture> picture = operation.get();
        if (!picture.ok()) {
          ++(picture.error().code == ErrorCode::kStopped ? stopped : wrong);
        } else {
          ++(picture.value().digest->hex() == right ? made : wrong);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(made + stopped, kThreads * kEach);
  EXPECT_GT(made, 0U);
  EXPECT_GT(stopped, 0U);
}

TEST_F(PictureStress, OneThatWaitsForPixelsIsStopped) {
  {
    const image::PixelShare all(kPixels, {});
    Operation<Picture> waits = process_picture(bytes_, small_and_hashed());
    EXPECT_FALSE(waits.wait_for(50'000'000)) << "the pixels are taken";
    waits.request_stop();
    Result<Picture> picture = waits.get();
    ASSERT_FALSE(picture.ok());
    EXPECT_EQ(picture.error().code, ErrorCode::kStopped);
  }
  EXPECT_TRUE(process_picture(bytes_, small_and_hashed()).get().ok());
}

TEST(PixelShares, NeverMoreThanTheBudgetAndNobodyIsForgotten) {
  image::set_max_pixels_in_flight(100);
  constexpr unsigned kThreads = 6;
  std::atomic<std::uint64_t> held{0};
  std::atomic<unsigned> beyond{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(t + 1);
      for (int i = 0; i < 2000; ++i) {
        const std::uint64_t pixels = 1 + random() % 100;
        const image::PixelShare share(pixels, {});
        if (held.fetch_add(pixels) + pixels > 100) ++beyond;
        held.fetch_sub(pixels);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(beyond, 0U);
  EXPECT_EQ(image::pixels_in_flight(), 0U);
  image::set_max_pixels_in_flight(image::kDefaultPixelsInFlight);
}

}  // namespace
}  // namespace offloop::pipeline
