// What this compiler can build for: functions for instructions that not every CPU has carry one of these attributes.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define GENMEND_X86 1
#include <cpuid.h>
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#else
#define AVX2
#endif

// Of one function that was built twice, the version for AVX2 where the CPU has it.
template <class Function>
Function best_of(Function avx2, Function portable) {
#ifdef GENMEND_X86
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2;
#endif
  return portable;
}

#if defined(GENMEND_X86) && defined(__linux__)
#define GENMEND_AMX 1
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")))
#endif

// Older clang has the dot product only where it is told that the CPU has it, as on macOS.
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) || (defined(__GNUC__) && !defined(__clang__)))
#define GENMEND_NEON 1
#ifdef __ARM_FEATURE_DOTPROD
#define NEON_DOT
#else
#define NEON_DOT __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#endif
