// Sums of four products of bytes in 256-bit registers: in the VEX form (AVX-VNNI: Intel from the 12th generation on,
// which has no AVX-512), and in the EVEX form of AVX-512, by which the same code is tested elsewhere.
#include "bounds_256.h"

#ifdef GENMEND_X86
#include <cstring>

namespace genmend {
namespace {

// Not the intrinsics: a template has one target, and these two instructions have different ones.
struct Vex {
  AVX2 static inline void multiply(__m256i& sum, __m256i y, __m256i x) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(y), "x"(x));
  }
};

struct Evex {
  AVX2 static inline void multiply(__m256i& sum, __m256i y, __m256i x) {
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(y), "x"(x));
  }
};

template <class Form>
AVX2 __attribute__((always_inline)) inline void tile_of(const Tile& t, float* bounds, uint64_t* hits) {
  constexpr int64_t ROWS = 6, WIDTH = 16;  // 6 x 16 sums hide the latency, and with their operands fit 16 registers
  constexpr int OFFSET = 128;
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  const __m256i offset = _mm256_set1_epi32(int(0x80808080u));
  std::memset(hits, 0, ROWS * sizeof *hits);
  for (int64_t left = 0; left < PANEL; left += WIDTH) {
    __m256i sum[ROWS][2];
#pragma GCC unroll 6
    for (int64_t r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (int64_t w = 0; w < t.x.words; w++) {
      const auto* y = reinterpret_cast<const __m256i*>(b + w * PANEL + left);
      const __m256i y0 = _mm256_xor_si256(_mm256_loadu_si256(y), offset);
      const __m256i y1 = _mm256_xor_si256(_mm256_loadu_si256(y + 1), offset);
#pragma GCC unroll 6
      for (int64_t r = 0; r < ROWS; r++) {
        const __m256i x = _mm256_set1_epi32(int(a[w * PANEL + r]));
        Form::multiply(sum[r][0], y0, x);
        Form::multiply(sum[r][1], y1, x);
      }
    }
#pragma GCC unroll 6
    for (int64_t r = 0; r < ROWS; r++) {
      const RowTerms x = row_terms(t.x, t.row + r, OFFSET);
      finish_256(t, r, left, sum[r][0], x, bounds, hits);
      finish_256(t, r, left + 8, sum[r][1], x, bounds, hits);
    }
  }
}

}  // namespace

AVX2 void tile_avx_vnni(const Tile& tile, float* bounds, uint64_t* hits) { tile_of<Vex>(tile, bounds, hits); }
AVX2 void tile_vnni_256(const Tile& tile, float* bounds, uint64_t* hits) { tile_of<Evex>(tile, bounds, hits); }

// The operating system has to save the registers, as for AVX2; the builtin of older compilers does not know the name.
bool avx_vnni_available() {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

}  // namespace genmend
#endif
