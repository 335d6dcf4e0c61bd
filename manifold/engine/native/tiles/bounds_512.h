// From products in 512-bit registers to bounds and hits.
#pragma once
#include "tiles.h"

#ifdef GENMEND_X86
namespace genmend {

// Sixteen bounds of row r from their products.
AVX512 inline void finish_512(const Tile& t, int64_t r, int64_t c, __m512 dot, const RowTerms& x, float* bounds,
                                 uint64_t* hits) {
  const int64_t j = t.panel * PANEL + c;
  const __m512 norms = _mm512_add_ps(_mm512_set1_ps(x.lower), _mm512_loadu_ps(t.y.lower + j));
  __m512 bound =
      _mm512_fmadd_ps(dot, _mm512_mul_ps(_mm512_set1_ps(x.step), _mm512_loadu_ps(t.y.step + j)), norms);
  bound = _mm512_fnmadd_ps(_mm512_set1_ps(x.length), _mm512_loadu_ps(t.y.error + j), bound);
  bound = _mm512_fnmadd_ps(_mm512_set1_ps(x.error), _mm512_loadu_ps(t.y.length + j), bound);
  _mm512_storeu_ps(bounds + r * PANEL + c, bound);
  __mmask16 hit = _mm512_cmp_ps_mask(bound, _mm512_set1_ps(t.row_limit[r]), _CMP_LE_OQ) |
                  _mm512_cmp_ps_mask(bound, _mm512_loadu_ps(t.column_limit + c), _CMP_LE_OQ);
  for (int s = 0; s < t.n_ratios; s++)
    hit |= _mm512_cmp_ps_mask(_mm512_mul_ps(bound, _mm512_loadu_ps(t.inverse[s] + c)),
                              _mm512_set1_ps(t.least[s][r]), _CMP_LE_OQ);
  hits[r] |= uint64_t(hit) << c;
}

}  // namespace genmend
#endif
