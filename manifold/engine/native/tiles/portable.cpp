// Plain C++, which compilers turn into what the CPU is known to have.
#include "tiles.h"

namespace genmend {

// Cauchy-Schwarz: |c_x.c_y - step_x step_y q_x.q_y| <= (length_x + error_x) error_y + error_x length_y.
void tile_portable(const Tile& t, float* bounds, uint64_t* hits) {
  constexpr int64_t ROWS = 8;
  const int8_t* a = reinterpret_cast<const int8_t*>(t.x.packed + t.row / PANEL * t.x.words * PANEL);
  const int8_t* b = reinterpret_cast<const int8_t*>(t.y.packed + t.panel * t.y.words * PANEL);
  const int64_t first = t.row % PANEL, column = t.panel * PANEL;
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
    hits[r] = 0;
    int32_t dot[PANEL] = {};
    for (int64_t w = 0; w < t.x.words; w++)
      for (int64_t c = 0; c < PANEL; c++)
        for (int64_t q = 0; q < 4; q++)
          dot[c] += int32_t(a[(w * PANEL + first + r) * 4 + q]) * b[(w * PANEL + c) * 4 + q];
    for (int64_t c = 0; c < PANEL; c++) {
      const int64_t j = column + c;
      const float bound = float(dot[c]) * (x.step * t.y.step[j]) + (x.lower + t.y.lower[j]) -
                          x.length * t.y.error[j] - x.error * t.y.length[j];
      bounds[r * PANEL + c] = bound;
      bool hit = bound <= t.row_limit[r] || bound <= t.column_limit[c];
      for (int s = 0; s < t.n_ratios; s++) hit = hit || bound * t.inverse[s][c] <= t.least[s][r];
      hits[r] |= uint64_t(hit) << c;
    }
  }
}

void dots_portable(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots) {
  for (int64_t p = 0; p < n; p++) {
    const int16_t* one = y[p];
    int32_t sum = 0;
    for (int64_t k = 0; k < width; k++) sum += int32_t(x[k]) * one[k];
    dots[p] = sum;
  }
}

}  // namespace genmend
