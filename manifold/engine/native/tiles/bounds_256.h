// From products in 256-bit registers to bounds and hits.
#pragma once
#include "tiles.h"

#ifdef GENMEND_X86
namespace genmend {

// Eight bounds of row r from their products.
AVX2 inline void finish_256(const Tile& t, int64_t r, int64_t c, __m256i dot, const RowTerms& x, float* bounds,
                            uint64_t* hits) {
  const int64_t j = t.panel * PANEL + c;
  const __m256 product = _mm256_cvtepi32_ps(_mm256_sub_epi32(dot, _mm256_set1_epi32(x.offset)));
  const __m256 norms = _mm256_add_ps(_mm256_set1_ps(x.lower), _mm256_loadu_ps(t.y.lower + j));
  __m256 bound = _mm256_fmadd_ps(
      product, _mm256_mul_ps(_mm256_set1_ps(x.step), _mm256_loadu_ps(t.y.step + j)), norms);
  bound = _mm256_fnmadd_ps(_mm256_set1_ps(x.length), _mm256_loadu_ps(t.y.error + j), bound);
  bound = _mm256_fnmadd_ps(_mm256_set1_ps(x.error), _mm256_loadu_ps(t.y.length + j), bound);
  _mm256_storeu_ps(bounds + r * PANEL + c, bound);
  __m256 hit = _mm256_cmp_ps(bound, _mm256_set1_ps(t.row_limit[r]), _CMP_LE_OQ);
  hit = _mm256_or_ps(hit, _mm256_cmp_ps(bound, _mm256_loadu_ps(t.column_limit + c), _CMP_LE_OQ));
  for (int s = 0; s < t.n_ratios; s++)
    hit = _mm256_or_ps(hit, _mm256_cmp_ps(_mm256_mul_ps(bound, _mm256_loadu_ps(t.inverse[s] + c)),
                                          _mm256_set1_ps(t.least[s][r]), _CMP_LE_OQ));
  hits[r] |= uint64_t(_mm256_movemask_ps(hit)) << c;
}

}  // namespace genmend
#endif
