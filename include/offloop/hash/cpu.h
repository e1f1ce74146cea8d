// What the SHA-256 dispatch found and chose on this machine, in words: for `offloop doctor` and for logs. The choice is
// made once, on the first call of anything in offloop::hash, from the CPU and the environment variable OFFLOOP_CPU.
#pragma once

#include <string>
#include <vector>

namespace offloop::hash {

struct CpuReport {
  std::string brand;     ///< "AMD EPYC 9454P 48-Core Processor"; "aarch64" where the CPU does not say
  std::string features;  ///< what the kernels look at: "sha_ni avx2 avx512"; empty when there is none of it
  std::string table;     ///< whose measured rates guide the choice: "Zen 4", "generic x86"
  std::string mode;      ///< "auto", or the value of OFFLOOP_CPU that is obeyed
  std::string problem;   ///< cpu_override_error()

  struct Row {
    unsigned streams;      ///< how many messages side by side
    std::string kernels;   ///< what runs them: "AVX-512 x16", "SHA-NI x2 + SHA-NI x1"
    double rate_gb_per_s;  ///< one core, estimated from the table
  };
  std::vector<Row> rows;  ///< for 1 to 16 streams
};

/// [any thread]
CpuReport cpu_report();

/// Empty, or what is wrong with OFFLOOP_CPU, in one sentence: an unknown name or instructions that this CPU lacks.
/// Nothing fails because of it: the dispatch behaves as with "auto". [any thread]
std::string cpu_override_error();

/// Empty, or which of the chosen kernels gave a wrong digest in the self-test that runs with the first use of anything
/// here (about 30 us). Then nothing is hashed with SHA-256 any more: operations end with kInternal and this text,
/// sha256_now() gives an empty digest, and the Python package cannot be imported. [any thread]
std::string self_test_error();

}  // namespace offloop::hash
