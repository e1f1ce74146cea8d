#include "image/geometry.h"

#include <gtest/gtest.h>

#include <random>

namespace offloop::image {
namespace {

Resize box(std::uint32_t width, std::uint32_t height, Fit fit) {
  Resize resize;
  resize.width = width;
  resize.height = height;
  resize.fit = fit;
  return resize;
}

Plan plan_of(Size stored, std::vector<Step> steps, unsigned orientation = 1) {
  Recipe recipe;
  recipe.steps = std::move(steps);
  Result<Plan> plan = make_plan(stored, orientation, recipe);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  return std::move(plan).value();
}

// What sharp 0.35 gives for these, by its documentation of resize().
TEST(FitInto, FollowsSharp) {
  const Size from{2725, 2225};
  EXPECT_EQ(fit_into(from, box(720, 0, Fit::kCover)).scaled, (Size{720, 588}));
  EXPECT_EQ(fit_into(from, box(0, 588, Fit::kCover)).scaled, (Size{720, 588}));
  EXPECT_EQ(fit_into(from, box(320, 320, Fit::kInside)).scaled, (Size{320, 261}));
  EXPECT_EQ(fit_into(from, box(320, 320, Fit::kOutside)).scaled, (Size{392, 320}));
  EXPECT_EQ(fit_into(from, box(320, 100, Fit::kFill)).scaled, (Size{320, 100}));

  const Fitted cover = fit_into(from, box(320, 320, Fit::kCover));
  EXPECT_EQ(cover.scaled, (Size{392, 320}));
  EXPECT_EQ(cover.window, (Rect{36, 0, 320, 320}));
  EXPECT_EQ(cover.canvas, (Size{320, 320}));

  const Fitted contain = fit_into(from, box(320, 320, Fit::kContain));
  EXPECT_TRUE(contain.padded);
  EXPECT_EQ(contain.place, (Rect{0, 29, 320, 261}));
  EXPECT_EQ(contain.canvas, (Size{320, 320}));
}

TEST(FitInto, PositionChoosesTheSide) {
  Resize resize = box(100, 100, Fit::kCover);
  const auto left = [&](Position position) {
    resize.position = position;
    return fit_into({300, 100}, resize).window.left;
  };
  EXPECT_EQ(left(Position::kLeft), 0);
  EXPECT_EQ(left(Position::kCentre), 100);
  EXPECT_EQ(left(Position::kTop), 100);
  EXPECT_EQ(left(Position::kRightBottom), 200);
  resize = box(100, 100, Fit::kContain);
  resize.position = Position::kBottom;
  EXPECT_EQ(fit_into({200, 100}, resize).place, (Rect{0, 50, 100, 50}));
}

TEST(FitInto, WithoutEnlargementNothingGrows) {
  for (const Fit fit : {Fit::kCover, Fit::kInside, Fit::kOutside, Fit::kFill}) {
    Resize resize = box(400, 300, fit);
    resize.without_enlargement = true;
    EXPECT_EQ(fit_into({100, 50}, resize).canvas, (Size{100, 50})) << static_cast<int>(fit);
  }
  Resize fill = box(400, 20, Fit::kFill);
  fill.without_enlargement = true;
  EXPECT_EQ(fit_into({100, 50}, fill).scaled, (Size{100, 20}));
  Resize cover = box(400, 20, Fit::kCover);  // would have to grow to fill the box: what is there is cut to it
  cover.without_enlargement = true;
  EXPECT_EQ(fit_into({100, 50}, cover).canvas, (Size{100, 20}));
}

TEST(FitInto, NoSideVanishes) {
  EXPECT_EQ(fit_into({10'000, 1}, box(10, 0, Fit::kCover)).scaled, (Size{10, 1}));
  EXPECT_EQ(fit_into({1, 10'000}, box(10, 10, Fit::kInside)).scaled, (Size{1, 10}));
}

TEST(Plan, CropAndResizeAndCropAreOneStage) {
  const Plan plan = plan_of({1000, 800}, {Crop{100, 200, 400, 300}, box(200, 150, Fit::kFill), Crop{10, 20, 50, 60}});
  ASSERT_EQ(plan.stages.size(), 1U);
  const Stage& stage = plan.stages[0];
  EXPECT_EQ(stage.x.size, 50);
  EXPECT_DOUBLE_EQ(stage.x.scale, 2);
  EXPECT_DOUBLE_EQ(stage.x.offset, 120);
  EXPECT_EQ(stage.x.low, 100);
  EXPECT_EQ(stage.x.high, 500);
  EXPECT_DOUBLE_EQ(stage.y.offset, 240);
  EXPECT_EQ(stage.y.high, 500);
}

TEST(Plan, ASecondResizeIsASecondStage) {
  const Plan plan = plan_of({1000, 800}, {box(200, 0, Fit::kCover), box(100, 0, Fit::kCover)});
  EXPECT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.result(), (Size{100, 80}));
}

TEST(Plan, WhatFollowsACanvasSeesTheCanvas) {
  const Plan plan = plan_of({100, 50}, {box(100, 100, Fit::kContain), Crop{0, 10, 30, 40}, Rotate{90}});
  ASSERT_EQ(plan.stages.size(), 2U);
  EXPECT_EQ(plan.stages[0].result(), (Size{100, 100}));
  EXPECT_EQ(plan.stages[1].y.low, 10);
  EXPECT_EQ(plan.result(), (Size{40, 30}));
}

TEST(Plan, StepsSeeThePictureTurned) {
  // Stored 300x200 and to be turned clockwise: upright it is 200x300.
  const Plan plan = plan_of({300, 200}, {AutoOrient{}, Crop{0, 0, 200, 30}}, 6);
  EXPECT_TRUE(plan.oriented);
  const Stage& stage = plan.stages[0];
  // Its top rows are the stored picture's left columns.
  EXPECT_EQ(stage.x.size, 30);
  EXPECT_DOUBLE_EQ(stage.x.offset, 0);
  EXPECT_EQ(stage.y.size, 200);
  EXPECT_EQ(plan.result(), (Size{200, 30}));
}

/// Each pixel of the result, by the plan and by doing the steps one after the other on coordinates.
TEST(Plan, CropsAndTurnsInAnyOrderTakeTheRightPixels) {
  std::mt19937 engine(7);
  const auto random = [&] { return static_cast<std::uint32_t>(engine()); };
  for (int round = 0; round < 200; ++round) {
    const Size stored{1 + static_cast<int>(random() % 12), 1 + static_cast<int>(random() % 12)};
    // at[y][x] is where the pixel was stored.
    std::vector<std::vector<std::pair<int, int>>> at(static_cast<std::size_t>(stored.height));
    for (int y = 0; y < stored.height; ++y)
      for (int x = 0; x < stored.width; ++x) at[static_cast<std::size_t>(y)].emplace_back(x, y);
    std::vector<Step> steps;
    for (int n = 0; n < 4; ++n) {
      const auto height = static_cast<std::uint32_t>(at.size());
      const auto width = static_cast<std::uint32_t>(at[0].size());
      auto next = at;
      switch (random() % 4) {
        case 0: {
          Crop crop;
          crop.left = random() % width;
          crop.top = random() % height;
          crop.width = 1 + random() % (width - crop.left);
          crop.height = 1 + random() % (height - crop.top);
          steps.emplace_back(crop);
          next.assign(at.begin() + crop.top, at.begin() + crop.top + crop.height);
          for (auto& row : next) row = {row.begin() + crop.left, row.begin() + crop.left + crop.width};
          break;
        }
        case 1:
          steps.emplace_back(Flip{});
          std::reverse(next.begin(), next.end());
          break;
        case 2:
          steps.emplace_back(Flop{});
          for (auto& row : next) std::reverse(row.begin(), row.end());
          break;
        default:
          steps.emplace_back(Rotate{90});
          next.assign(width, std::vector<std::pair<int, int>>(height));
          for (std::uint32_t y = 0; y < height; ++y)
            for (std::uint32_t x = 0; x < width; ++x) next[x][height - 1 - y] = at[y][x];
      }
      at = next;
    }
    const Plan plan = plan_of(stored, steps);
    const Stage& stage = plan.stages[0];
    ASSERT_EQ(plan.result(), (Size{static_cast<int>(at[0].size()), static_cast<int>(at.size())}));
    for (int y = 0; y < stage.y.size; ++y) {
      for (int x = 0; x < stage.x.size; ++x) {
        int u = x;
        int v = y;
        if (stage.turn.transpose) std::swap(u, v);
        if (stage.turn.flop) u = plan.result().width - 1 - u;
        if (stage.turn.flip) v = plan.result().height - 1 - v;
        EXPECT_EQ(at[static_cast<std::size_t>(v)][static_cast<std::size_t>(u)],
                  std::pair(static_cast<int>(stage.x.offset) + x, static_cast<int>(stage.y.offset) + y));
      }
    }
  }
}

TEST(Plan, ACropOutsideSaysWhatThePictureIs) {
  Recipe recipe;
  recipe.steps = {box(50, 50, Fit::kFill), Crop{40, 0, 11, 10}};
  const Result<Plan> plan = make_plan({100, 100}, 1, recipe);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(plan.error().message.find("50x50"), std::string::npos) << plan.error().message;
  recipe.steps = {Crop{4'294'967'295U, 0, 2, 1}};  // the sum would wrap
  EXPECT_FALSE(make_plan({100, 100}, 1, recipe).ok());
}

TEST(Plan, TheResultHasALimit) {
  Recipe recipe;
  recipe.limits.max_output_pixels = 10'000;
  recipe.steps = {box(100, 100, Fit::kFill)};
  EXPECT_TRUE(make_plan({10, 10}, 1, recipe).ok());
  recipe.steps = {box(101, 100, Fit::kFill)};
  EXPECT_EQ(make_plan({10, 10}, 1, recipe).error().code, ErrorCode::kImageLimit);
  recipe.steps = {box(101, 100, Fit::kContain)};
  EXPECT_EQ(make_plan({10, 10}, 1, recipe).error().code, ErrorCode::kImageLimit);
}

TEST(Plan, ARatioThatAsksForMoreThanAnIntIsALimitToo) {
  Recipe recipe;
  recipe.steps = {box(1'000'000, 1'000'000, Fit::kCover)};
  EXPECT_EQ(make_plan({1, 3000}, 1, recipe).error().code, ErrorCode::kImageLimit);
  recipe.steps = {box(40'000, 1, Fit::kCover)};  // the window is small, what it is cut from is not
  EXPECT_EQ(make_plan({1, 65'535}, 1, recipe).error().code, ErrorCode::kImageLimit);
}

}  // namespace
}  // namespace offloop::image
