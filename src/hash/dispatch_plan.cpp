// Which kernel takes how many streams.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#include "hash/dispatch.h"
#include "hash/self_test.h"
#include "offloop/hash/cpu.h"
#include "offloop/runtime/fork.h"

namespace offloop::hash {
namespace {

constexpr const char* kModeNames[kCpuModeCount] = {"auto", "portable", "shani1", "shani",
                                                   "avx2", "avx512",   "neon",   "armv8"};

/// The kernels as bits.
using KernelSet = unsigned;
constexpr KernelSet bit(Kernel kernel) {
  return 1U << static_cast<unsigned>(kernel);
}

constexpr KernelSet kSingles = bit(Kernel::kPortable) | bit(Kernel::kShani1);

/// What a mode lets in; beside it, whatever the CPU supports.
constexpr KernelSet kernels_of(CpuMode mode) {
  switch (mode) {
    case CpuMode::kAuto:
      return ~0U;
    case CpuMode::kPortable:
      return bit(Kernel::kPortable);
    case CpuMode::kShani1:
      return bit(Kernel::kShani1);
    case CpuMode::kShani:
      return bit(Kernel::kShani1) | bit(Kernel::kShani2);
    case CpuMode::kAvx2:
      return bit(Kernel::kAvx2x8) | kSingles;
    case CpuMode::kAvx512:
      return bit(Kernel::kAvx512x8) | bit(Kernel::kAvx512x16) | kSingles;
    case CpuMode::kNeon:
      return bit(Kernel::kNeonx4) | bit(Kernel::kPortable);
    case CpuMode::kArmv8:
      return bit(Kernel::kArmv8x1) | bit(Kernel::kArmv8x2);
  }
  return bit(Kernel::kPortable);
}

/// What one pass of the kernel over one block costs, however many of its lanes are used.
double pass_ns(Kernel kernel, const CpuRates& rates) noexcept {
  // A table without the kernel's rate: a CPU that hides an extension, or a kernel forced by a test.
  const double rate = rates.rate[static_cast<unsigned>(kernel)];
  const double known = rate > 0 ? rate : rates.rate[static_cast<unsigned>(Kernel::kPortable)];
  return kernel_info(kernel).lanes * double{kSha256BlockBytes} / known;
}

unsigned left_after(Kernel kernel, unsigned n) noexcept {
  const unsigned lanes = kernel_info(kernel).lanes;
  return n > lanes ? n - lanes : 0;
}

/// Fills rate[] from take[].
void add_rates(Plan& plan, const CpuRates& rates) noexcept {
  double cost_ns[kMaxLanes + 1] = {};
  for (unsigned n = 1; n <= kMaxLanes; ++n) {
    cost_ns[n] = pass_ns(plan.take[n], rates) + cost_ns[left_after(plan.take[n], n)];
    plan.rate[n] = n * double{kSha256BlockBytes} / cost_ns[n];
  }
  plan.rate[0] = plan.rate[1];
}

/// The cheapest way to bring n streams one block further: of all first kernels, the one whose pass and rest cost least.
/// Where two cost the same the wider runs first.
Plan cheapest_plan(KernelSet usable, const CpuRates& rates) noexcept {
  constexpr double kSame = 1e-9;  // the same sum in another order
  Plan plan;
  double cost_ns[kMaxLanes + 1] = {};
  for (unsigned n = 1; n <= kMaxLanes; ++n) {
    for (unsigned i = 0; i < kKernelCount; ++i) {
      const Kernel kernel = static_cast<Kernel>(i);
      if ((usable & bit(kernel)) == 0) continue;
      const double cost = pass_ns(kernel, rates) + cost_ns[left_after(kernel, n)];
      const double best = cost_ns[n];  // 0: none yet
      const bool alike = cost > best * (1 - kSame) && cost < best * (1 + kSame);
      const bool wider = kernel_info(kernel).lanes > kernel_info(plan.take[n]).lanes;
      if (best != 0 && (alike ? !wider : cost > best)) continue;
      cost_ns[n] = cost;
      plan.take[n] = kernel;
    }
  }
  return plan;
}

/// A table in which the wide kernels of a mode win as soon as all their lanes are in use, even on a CPU where they
/// lose; with fewer streams they still have to pay. So OFFLOOP_CPU=avx2 runs AVX2 without making two streams four times
/// slower.
CpuRates favour_wide(KernelSet usable, const CpuRates& rates) noexcept {
  constexpr double kClearly = 1.01;
  CpuRates favoured = rates;
  double best = 0;
  for (unsigned lanes = 1; lanes <= kMaxLanes; ++lanes) {  // each width above all narrower ones
    for (unsigned i = 0; i < kKernelCount; ++i) {
      const KernelInfo& kernel = kernel_info(static_cast<Kernel>(i));
      if ((usable >> i & 1) == 0 || kernel.lanes != lanes) continue;
      double& rate = favoured.rate[i];
      if (lanes > 1 && rate < best * kClearly) rate = best * kClearly;
      if (rate > best) best = rate;
    }
  }
  return favoured;
}

// Set by ScopedPlan only.
constinit std::atomic<const Plan*> forced_plan{nullptr};
// Set by ScopedFailure only.
constinit std::atomic<const char*> forced_failure{nullptr};

const char* failure() noexcept {
  const char* forced = forced_failure.load(std::memory_order_acquire);
  return forced != nullptr ? forced : cpu_choice().failure;
}

}  // namespace

const char* cpu_mode_name(CpuMode mode) noexcept {
  return kModeNames[static_cast<unsigned>(mode)];
}

bool parse_cpu_mode(const char* text, CpuMode& mode) noexcept {
  for (unsigned i = 0; i < kCpuModeCount; ++i) {
    if (std::strcmp(text, kModeNames[i]) != 0) continue;
    mode = static_cast<CpuMode>(i);
    return true;
  }
  return false;
}

bool cpu_mode_supported(CpuMode mode, const CpuFeatures& cpu) noexcept {
  switch (mode) {
    case CpuMode::kAuto:
    case CpuMode::kPortable:
      return true;
    case CpuMode::kShani1:
    case CpuMode::kShani:
      return kernel_supported(Kernel::kShani1, cpu);
    case CpuMode::kAvx2:
      return kernel_supported(Kernel::kAvx2x8, cpu);
    case CpuMode::kAvx512:
      return kernel_supported(Kernel::kAvx512x16, cpu);
    case CpuMode::kNeon:
      return kernel_supported(Kernel::kNeonx4, cpu);
    case CpuMode::kArmv8:
      return kernel_supported(Kernel::kArmv8x1, cpu);
  }
  return false;
}

Plan make_plan(CpuMode mode, const CpuFeatures& cpu, const CpuRates& rates) noexcept {
  KernelSet usable = 0;
  for (unsigned i = 0; i < kKernelCount; ++i) {
    if (kernel_supported(static_cast<Kernel>(i), cpu)) usable |= 1U << i;
  }
  usable &= kernels_of(mode);
  Plan plan = cheapest_plan(usable, mode == CpuMode::kAuto ? rates : favour_wide(usable, rates));
  add_rates(plan, rates);
  return plan;
}

Choice make_choice(const char* text) noexcept {
  Choice choice;
  choice.cpu = detect_cpu();
  choice.rates = &rates_of(choice.cpu);
  if (text != nullptr && *text != '\0') {
    std::strncpy(choice.override_text, text, sizeof choice.override_text - 1);
    if (!parse_cpu_mode(text, choice.mode)) {
      choice.problem = OverrideProblem::kUnknown;
    } else if (!cpu_mode_supported(choice.mode, choice.cpu)) {
      choice.mode = CpuMode::kAuto;
      choice.problem = OverrideProblem::kUnsupported;
    }
  }
  choice.plan = make_plan(choice.mode, choice.cpu, *choice.rates);
  (void)plan_is_right(choice.plan, choice.failure, sizeof choice.failure);
  return choice;
}

static_assert(std::is_trivially_destructible_v<Choice>, "it lives in static storage");

// By hand instead of a function's static: a fork can leave the lock of its first use locked for ever.
namespace {
alignas(Choice) unsigned char g_choice[sizeof(Choice)];
std::atomic<bool> g_chosen{false};
std::atomic<std::uint32_t> g_choice_lock{0};
}  // namespace

const Choice& cpu_choice() noexcept {
  if (!g_chosen.load(std::memory_order_acquire)) {
    const runtime::ForkLock lock(g_choice_lock);
    if (!g_chosen.load(std::memory_order_relaxed)) {
      new (g_choice) Choice(make_choice(std::getenv("OFFLOOP_CPU")));
      g_chosen.store(true, std::memory_order_release);
    }
  }
  return *std::launder(reinterpret_cast<const Choice*>(g_choice));
}

const Plan& current_plan() noexcept {
  const Plan* forced = forced_plan.load(std::memory_order_acquire);
  return forced != nullptr ? *forced : cpu_choice().plan;
}

bool sha256_trusted() noexcept {
  return *failure() == '\0';
}

std::string self_test_error() {
  const char* found = failure();
  if (*found == '\0') return {};
  return std::string("the SHA-256 self-test failed on ") + cpu_report().brand + ": " + found +
         "; nothing is hashed. Other kernels can be tried with OFFLOOP_CPU=portable";
}

ScopedFailure::ScopedFailure(const char* text) noexcept {
  forced_failure.store(text, std::memory_order_release);
}

ScopedFailure::~ScopedFailure() {
  forced_failure.store(nullptr, std::memory_order_release);
}

ScopedPlan::ScopedPlan(const Plan& plan) noexcept : plan_(plan), outer_(forced_plan.load(std::memory_order_relaxed)) {
  forced_plan.store(&plan_, std::memory_order_release);
}

ScopedPlan::ScopedPlan(CpuMode mode) noexcept : ScopedPlan(make_plan(mode, cpu_choice().cpu, *cpu_choice().rates)) {}

ScopedPlan::ScopedPlan(Kernel kernel) noexcept : ScopedPlan(Plan{}) {
  for (Kernel& take : plan_.take) take = kernel;
  add_rates(plan_, *cpu_choice().rates);
}

ScopedPlan::~ScopedPlan() {
  forced_plan.store(outer_, std::memory_order_release);
}

}  // namespace offloop::hash
