// AVX2: products of bytes are added in pairs as 16-bit integers, two such pairs before they are widened.
#include "bounds_256.h"

#ifdef GENMEND_X86
#include <cstring>

namespace genmend {

AVX2 void tile_avx2(const Tile& t, float* bounds, uint64_t* hits) {
  constexpr int64_t ROWS = 8, HALF = ROWS / 2, WIDTH = 16;  // 4 x 16 sums and their operands fit 16 registers
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  const __m256i offset = _mm256_set1_epi8(AVX2_LEVELS), ones = _mm256_set1_epi16(1);
  std::memset(hits, 0, ROWS * sizeof *hits);
  for (int64_t top = 0; top < ROWS; top += HALF)
    for (int64_t left = 0; left < PANEL; left += WIDTH) {
      __m256i sum[HALF][2];
#pragma GCC unroll 4
      for (int64_t r = 0; r < HALF; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
      for (int64_t w = 0; w < t.x.words; w += 2) {
        const auto* y = reinterpret_cast<const __m256i*>(b + w * PANEL + left);
        const auto* next = reinterpret_cast<const __m256i*>(b + (w + 1) * PANEL + left);
        const __m256i y0 = _mm256_add_epi8(_mm256_loadu_si256(y), offset);
        const __m256i y1 = _mm256_add_epi8(_mm256_loadu_si256(y + 1), offset);
        const __m256i z0 = _mm256_add_epi8(_mm256_loadu_si256(next), offset);
        const __m256i z1 = _mm256_add_epi8(_mm256_loadu_si256(next + 1), offset);
#pragma GCC unroll 4
        for (int64_t r = 0; r < HALF; r++) {
          const __m256i x = _mm256_set1_epi32(int(a[w * PANEL + top + r]));
          const __m256i v = _mm256_set1_epi32(int(a[(w + 1) * PANEL + top + r]));
          const __m256i p0 = _mm256_add_epi16(_mm256_maddubs_epi16(y0, x), _mm256_maddubs_epi16(z0, v));
          const __m256i p1 = _mm256_add_epi16(_mm256_maddubs_epi16(y1, x), _mm256_maddubs_epi16(z1, v));
          sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(p0, ones));
          sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(p1, ones));
        }
      }
#pragma GCC unroll 4
      for (int64_t r = 0; r < HALF; r++) {
        const RowTerms x = row_terms(t.x, t.row + top + r, AVX2_LEVELS);
        finish_256(t, top + r, left, sum[r][0], x, bounds, hits);
        finish_256(t, top + r, left + 8, sum[r][1], x, bounds, hits);
      }
    }
}

namespace {

AVX2 inline int32_t total(__m256i sums) {
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

// N rows of y at a time share what is loaded of x.
template <int N>
AVX2 inline void dots_of(const int16_t* x, const int16_t* const* y, int64_t width, int32_t* dots) {
  __m256i sum[N][2];
#pragma GCC unroll 4
  for (int p = 0; p < N; p++) sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  for (int64_t k = 0; k < width; k += 32) {
    const __m256i x0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k));
    const __m256i x1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + k + 16));
#pragma GCC unroll 4
    for (int p = 0; p < N; p++) {
      const auto* one = reinterpret_cast<const __m256i*>(y[p] + k);
      sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(x0, _mm256_loadu_si256(one)));
      sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(x1, _mm256_loadu_si256(one + 1)));
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < N; p++) dots[p] = total(_mm256_add_epi32(sum[p][0], sum[p][1]));
}

}  // namespace

AVX2 void dots_avx2(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots) {
  int64_t p = 0;
  for (; p + 4 <= n; p += 4) dots_of<4>(x, y + p, width, dots + p);
  for (; p < n; p++) dots_of<1>(x, y + p, width, dots + p);
}

}  // namespace genmend
#endif
