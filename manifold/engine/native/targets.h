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
#endif

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
