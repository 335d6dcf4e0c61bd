// AVX-512: VNNI for bytes, BF16 for bfloat16.
#include "bounds_512.h"

#ifdef GENMEND_X86
#include <cstring>

namespace genmend {
namespace {

constexpr int64_t ROWS = 8;
constexpr int OFFSET = 128;

}  // namespace

AVX512_VNNI void tile_vnni(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  const __m512i offset = _mm512_set1_epi32(int(0x80808080u));
  __m512i sum[ROWS][3];
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = sum[r][2] = _mm512_setzero_si512();
  for (int64_t w = 0; w < t.x.words; w++, a += PANEL, b += PANEL) {
    const __m512i y0 = _mm512_xor_si512(_mm512_loadu_si512(b), offset);
    const __m512i y1 = _mm512_xor_si512(_mm512_loadu_si512(b + 16), offset);
    const __m512i y2 = _mm512_xor_si512(_mm512_loadu_si512(b + 32), offset);
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) {
      const __m512i x = _mm512_set1_epi32(int(a[r]));
      sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], y0, x);
      sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], y1, x);
      sum[r][2] = _mm512_dpbusd_epi32(sum[r][2], y2, x);
      asm volatile("" : "+v"(sum[r][0]), "+v"(sum[r][1]), "+v"(sum[r][2]));
    }
  }
  std::memset(hits, 0, ROWS * sizeof *hits);
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r, OFFSET);
#pragma GCC unroll 3
    for (int64_t v = 0; v < 3; v++)
      finish_512(t, r, 16 * v,
                 _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[r][v], _mm512_set1_epi32(x.offset))), x, bounds, hits);
  }
}

AVX512_BF16 void tile_bf16(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  __m512 sum[ROWS][3];
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = sum[r][2] = _mm512_setzero_ps();
  for (int64_t w = 0; w < t.x.words; w++, a += PANEL, b += PANEL) {
    const __m512bh y0 = (__m512bh)_mm512_loadu_si512(b);
    const __m512bh y1 = (__m512bh)_mm512_loadu_si512(b + 16);
    const __m512bh y2 = (__m512bh)_mm512_loadu_si512(b + 32);
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(int(a[r]));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], y0, x);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], y1, x);
      sum[r][2] = _mm512_dpbf16_ps(sum[r][2], y2, x);
    }
  }
  std::memset(hits, 0, ROWS * sizeof *hits);
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
#pragma GCC unroll 3
    for (int64_t v = 0; v < 3; v++) finish_512(t, r, 16 * v, sum[r][v], x, bounds, hits);
  }
}

namespace {

// N rows of y at a time share what is loaded of x.
template <int N>
AVX512_VNNI inline void dots_of(const int16_t* x, const int16_t* const* y, int64_t width, int32_t* dots) {
  __m512i sum[N][2];
#pragma GCC unroll 8
  for (int p = 0; p < N; p++) sum[p][0] = sum[p][1] = _mm512_setzero_si512();
  for (int64_t k = 0; k < width; k += 64) {
    const __m512i x0 = _mm512_loadu_si512(x + k), x1 = _mm512_loadu_si512(x + k + 32);
#pragma GCC unroll 8
    for (int p = 0; p < N; p++) {
      sum[p][0] = _mm512_dpwssd_epi32(sum[p][0], x0, _mm512_loadu_si512(y[p] + k));
      sum[p][1] = _mm512_dpwssd_epi32(sum[p][1], x1, _mm512_loadu_si512(y[p] + k + 32));
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < N; p++) dots[p] = _mm512_reduce_add_epi32(_mm512_add_epi32(sum[p][0], sum[p][1]));
}

}  // namespace

AVX512_VNNI void dots_vnni(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots) {
  int64_t p = 0;
  for (; p + 4 <= n; p += 4) dots_of<4>(x, y + p, width, dots + p);
  for (; p < n; p++) dots_of<1>(x, y + p, width, dots + p);
}

}  // namespace genmend
#endif
