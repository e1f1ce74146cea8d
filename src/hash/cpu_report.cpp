#include "hash/dispatch.h"
#include "offloop/hash/cpu.h"

namespace offloop::hash {
namespace {

std::string features_of(const CpuFeatures& cpu) {
  std::string text;
  const auto add = [&text](bool present, const char* name) {
    if (!present) return;
    if (!text.empty()) text += ' ';
    text += name;
  };
  add(cpu.sha_ni, "sha_ni");
  add(cpu.avx2, "avx2");
  add(cpu.avx512, "avx512");
  add(cpu.neon, "neon");
  add(cpu.armv8_sha2, "sha2");
  return text;
}

/// "SHA-NI x2 (3 times) + SHA-NI x1"
std::string kernels_for(const Plan& plan, unsigned n) {
  std::string text;
  while (n != 0) {
    const Kernel kernel = plan.take[n];
    const unsigned lanes = kernel_info(kernel).lanes;
    unsigned times = 0;
    for (; n != 0 && plan.take[n] == kernel; n = n > lanes ? n - lanes : 0) ++times;
    if (!text.empty()) text += " + ";
    text += kernel_info(kernel).name;
    if (times > 1) text += " (" + std::to_string(times) + " times)";
  }
  return text;
}

/// Spaces before, after and within runs are how CPUs pad their brand.
std::string tidy(const char* brand) {
  std::string text;
  for (; *brand != '\0'; ++brand) {
    if (*brand != ' ' || (!text.empty() && text.back() != ' ')) text += *brand;
  }
  if (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

std::string brand_of(const CpuFeatures& cpu) {
  std::string brand = tidy(cpu.brand);
  if (!brand.empty()) return brand;
#if defined(__aarch64__)
  return "aarch64";
#elif defined(__x86_64__)
  return "x86-64";
#else
  return "unknown";
#endif
}

std::string usable_modes(const CpuFeatures& cpu) {
  std::string text;
  for (unsigned i = 0; i < kCpuModeCount; ++i) {
    const auto mode = static_cast<CpuMode>(i);
    if (!cpu_mode_supported(mode, cpu)) continue;
    if (!text.empty()) text += ", ";
    text += cpu_mode_name(mode);
  }
  return text;
}

}  // namespace

std::string override_error_of(const Choice& choice) {
  if (choice.problem == OverrideProblem::kNone) return {};
  std::string text = "OFFLOOP_CPU=";
  text += choice.override_text;
  text += choice.problem == OverrideProblem::kUnknown
              ? " is not a name that offloop knows"
              : " asks for instructions that " + brand_of(choice.cpu) + " lacks";
  return text + "; expected one of " + usable_modes(choice.cpu) + " here; going on with auto";
}

std::string cpu_override_error() {
  return override_error_of(cpu_choice());
}

CpuReport cpu_report() {
  const Choice& choice = cpu_choice();
  const Plan& plan = current_plan();
  CpuReport report;
  report.brand = brand_of(choice.cpu);
  report.features = features_of(choice.cpu);
  report.table = choice.rates->name;
  report.mode = cpu_mode_name(choice.mode);
  report.problem = cpu_override_error();
  for (unsigned n = 1; n <= kMaxLanes; ++n) report.rows.push_back({n, kernels_for(plan, n), plan.rate[n]});
  return report;
}

}  // namespace offloop::hash
