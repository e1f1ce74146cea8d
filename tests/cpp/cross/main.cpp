// The checks of the SHA-256 kernels for a CPU that is only emulated here, and which of them it gets. Prints one line a
// check and "N passed, 0 failed"; the exit status is 1 when anything failed or an expected kernel is absent.
#include <cstdio>
#include <cstring>

#include "cpp/cross/sha256_checks.h"
#include "offloop/hash/cpu.h"

using namespace offloop::hash;

namespace {

struct Count {
  unsigned passed = 0, failed = 0;

  void add(const char* subject, const char* promise, const std::string& problem) {
    ++(problem.empty() ? passed : failed);
    std::printf("%-4s %-10s %s%s%s\n", problem.empty() ? "ok" : "FAIL", subject, promise, problem.empty() ? "" : ": ",
                problem.c_str());
  }
};

void check_everything(Count& count, const char* subject, const checks::Reference& reference) {
  count.add(subject, "gives NIST's digests", checks::check_nist());
  count.add(subject, "agrees with the reference at every padding case", checks::check_lengths(reference));
  count.add(subject, "reads from any address", checks::check_alignments(reference));
  count.add(subject, "runs one to sixteen streams in one or more calls", checks::check_all_streams(reference));
  count.add(subject, "holds at extreme words", checks::check_extremes(reference));
}

std::string expect(bool holds, const std::string& otherwise) {
  return holds ? "" : otherwise;
}

void check_choice(Count& count) {
  const CpuReport report = cpu_report();
  std::printf("CPU: %s, features: %s, table: %s, mode: %s\n", report.brand.c_str(), report.features.c_str(),
              report.table.c_str(), report.mode.c_str());
  for (const CpuReport::Row& row : report.rows) std::printf("  %2u: %s\n", row.streams, row.kernels.c_str());

  const Choice unknown = make_choice("sse9");
  count.add("dispatch", "names an unknown override",
            expect(unknown.problem == OverrideProblem::kUnknown, "accepted it"));
  const Choice foreign = make_choice("avx512");
  if (!cpu_mode_supported(CpuMode::kAvx512, foreign.cpu)) {
    count.add(
        "dispatch", "names what the CPU lacks",
        expect(foreign.problem == OverrideProblem::kUnsupported && foreign.mode == CpuMode::kAuto, "accepted it"));
  }
#if defined(__aarch64__)
  const Plan& plan = cpu_choice().plan;
  count.add("dispatch", "prefers the SHA-2 extension, in pairs",
            expect(plan.take[1] == Kernel::kArmv8x1 && plan.take[16] == Kernel::kArmv8x2, report.rows[15].kernels));
  CpuFeatures plain = cpu_choice().cpu;
  plain.armv8_sha2 = false;
  const Plan without = make_plan(CpuMode::kAuto, plain, rates_of(plain));
  count.add("dispatch", "without it takes NEON for many and portable for one",
            expect(without.take[1] == Kernel::kPortable && without.take[16] == Kernel::kNeonx4, "it does not"));
#endif
}

}  // namespace

int main() {
  Count count;
  const checks::Reference reference;
  check_choice(count);
  for (unsigned i = 0; i < kKernelCount; ++i) {
    const auto kernel = static_cast<Kernel>(i);
    if (kernel_info(kernel).run == nullptr) continue;
    if (!kernel_supported(kernel, cpu_choice().cpu)) {
      count.add(kernel_info(kernel).name, "is supported here", "this CPU lacks it: run under qemu-aarch64 -cpu max");
      continue;
    }
    const ScopedPlan scoped(kernel);
    check_everything(count, kernel_info(kernel).name, reference);
  }
  for (unsigned i = 0; i < kCpuModeCount; ++i) {
    const auto mode = static_cast<CpuMode>(i);
    if (!cpu_mode_supported(mode, cpu_choice().cpu)) continue;
    const ScopedPlan scoped(mode);
    check_everything(count, cpu_mode_name(mode), reference);
  }
  std::printf("%u passed, %u failed\n", count.passed, count.failed);
  return count.failed == 0 && count.passed != 0 ? 0 : 1;
}
