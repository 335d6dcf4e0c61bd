// AVX2: products of bytes are added in pairs as 16-bit integers, two such pairs before they are widened.
#include "bounds_256.h"

#ifdef GENMEND_X86
#include <algorithm>
#include <cstring>

namespace genmend {

namespace {

constexpr int64_t ROWS = 8, HALF = ROWS / 2, WIDTH = 16;  // 4 x 16 sums and their operands fit 16 registers
constexpr int64_t BLOCK = 64;  // words whose codes stay in the first cache while all of the tile's parts go over them

struct Columns {
  __m256i left, right;  // of a word, unsigned; or sums
};

AVX2 inline Columns unsigned_codes(const uint32_t* b, __m256i offset) {
  const auto* y = reinterpret_cast<const __m256i*>(b);
  return {_mm256_add_epi8(_mm256_loadu_si256(y), offset), _mm256_add_epi8(_mm256_loadu_si256(y + 1), offset)};
}

// Products of two words of one row and 16 columns.
AVX2 inline void add_row(const uint32_t* a, Columns y, Columns next, __m256i ones, Columns& sum) {
  const __m256i x = _mm256_set1_epi32(int(a[0])), v = _mm256_set1_epi32(int(a[PANEL]));
  const __m256i left = _mm256_add_epi16(_mm256_maddubs_epi16(y.left, x), _mm256_maddubs_epi16(next.left, v));
  const __m256i right = _mm256_add_epi16(_mm256_maddubs_epi16(y.right, x), _mm256_maddubs_epi16(next.right, v));
  sum.left = _mm256_add_epi32(sum.left, _mm256_madd_epi16(left, ones));
  sum.right = _mm256_add_epi32(sum.right, _mm256_madd_epi16(right, ones));
  asm("" : "+x"(sum.left), "+x"(sum.right));  // row after row: operands of more do not fit
}

AVX2 inline Columns load(const int32_t* sums) {
  const auto* at = reinterpret_cast<const __m256i*>(sums);
  return {_mm256_load_si256(at), _mm256_load_si256(at + 1)};
}

AVX2 inline void store(Columns sum, int32_t* sums) {
  auto* at = reinterpret_cast<__m256i*>(sums);
  _mm256_store_si256(at, sum.left);
  _mm256_store_si256(at + 1, sum.right);
}

// Adds the products of some words to 4 x 16 sums. One variable for each row: compilers leave an array in memory.
AVX2 inline void add_products(const uint32_t* a, const uint32_t* b, int64_t words, int32_t* sums) {
  const __m256i offset = _mm256_set1_epi8(AVX2_LEVELS), ones = _mm256_set1_epi16(1);
  Columns s0 = load(sums), s1 = load(sums + PANEL), s2 = load(sums + 2 * PANEL), s3 = load(sums + 3 * PANEL);
  for (int64_t w = 0; w < words; w += 2, a += 2 * PANEL, b += 2 * PANEL) {
    const Columns y = unsigned_codes(b, offset), next = unsigned_codes(b + PANEL, offset);
    add_row(a, y, next, ones, s0);
    add_row(a + 1, y, next, ones, s1);
    add_row(a + 2, y, next, ones, s2);
    add_row(a + 3, y, next, ones, s3);
  }
  store(s0, sums), store(s1, sums + PANEL), store(s2, sums + 2 * PANEL), store(s3, sums + 3 * PANEL);
}

}  // namespace

AVX2 void tile_avx2(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  alignas(32) int32_t sums[ROWS * PANEL] = {};
  for (int64_t w = 0; w < t.x.words; w += BLOCK)
    for (int64_t left = 0; left < PANEL; left += WIDTH)
      for (int64_t top = 0; top < ROWS; top += HALF)
        add_products(a + w * PANEL + top, b + w * PANEL + left, std::min(BLOCK, t.x.words - w),
                     sums + top * PANEL + left);
  std::memset(hits, 0, ROWS * sizeof *hits);
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r, AVX2_LEVELS);
    for (int64_t c = 0; c < PANEL; c += 8)
      finish_256(t, r, c, _mm256_load_si256(reinterpret_cast<const __m256i*>(sums + r * PANEL + c)), x, bounds, hits);
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
