// k nearest neighbours: k-th smallest upper bounds rule pairs out, the few candidates left are measured exactly.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <utility>

#include "neighbours.h"
#include "threads.h"

namespace genmend {
namespace {

constexpr int64_t CHUNK = 4;          // panels of rows that one thread takes at a time, against all columns
constexpr int64_t BAND = 4;           // panels beside the diagonal that are not skipped: they give the first radii
constexpr int64_t FIRST_PANELS = 22;  // of columns that give first limits where tiles cost little
constexpr int64_t CHEAP = 4;          // times narrower than the fine codes: tiles cost little then

float upper_bound(float lower_bound, const Codes& x, int64_t i, const Codes& y, int64_t j) {
  const float error = 2 * (x.length[i] + x.error[i]) * y.error[j] + 2 * x.error[i] * y.length[j];
  return lower_bound + (x.upper[i] - x.lower[i]) + (y.upper[j] - y.lower[j]) + 2 * error;
}

struct Join {
  const Set& query;
  const Set& reference;
  const Kernel& kernel;
  int64_t k, own;
  bool once, fine;
  const float* never;  // limits of columns that need no neighbours
  Neighbours& found;

  // Rows `first` to `last` against some of the columns: k upper bounds of each row, of pairs whose codes are near.
  void first_limits(int64_t first, int64_t last) const {
    const Codes &x = query.codes, &y = reference.codes;
    const int64_t panels = (y.n + PANEL - 1) / PANEL, height = (last - first + PANEL - 1) / PANEL * PANEL;
    using Near = std::pair<float, int64_t>;  // bound and row of the reference; the worst on top of a heap
    std::vector<std::vector<Near>> best(height);
    std::vector<float> limit(height, INFINITY);
    const RowCodes codes(kernel, x, first, last);
    alignas(64) float bounds[MOST_ROWS * PANEL];
    uint64_t hits[MOST_ROWS];
    for (int64_t step = 0; step < std::min(FIRST_PANELS, panels); step++) {
      const int64_t q = (first * panels / x.n + step) % panels;
      for (int64_t row = first; row < last; row += kernel.rows) {
        kernel.tile({x, row, codes.at(row), y, q, &limit[row - first], never, 0, {}, {}}, bounds, hits);
        for (int64_t r = 0; r < std::min(kernel.rows, last - row); r++)
          for (uint64_t rest = hits[r] & valid_columns(y.n, q); rest; rest &= rest - 1) {
            const int64_t c = __builtin_ctzll(rest), j = q * PANEL + c;
            auto& mine = best[row - first + r];
            const float bound = bounds[r * PANEL + c];
            if (is_own(row + r, j) || bound > limit[row - first + r]) continue;
            mine.emplace_back(bound, j);
            std::push_heap(mine.begin(), mine.end());
            if (int64_t(mine.size()) <= k) continue;
            std::pop_heap(mine.begin(), mine.end());
            mine.pop_back();
            limit[row - first + r] = mine.front().first;
          }
      }
    }
    for (int64_t i = first; i < last; i++) {
      const auto& mine = best[i - first];
      if (int64_t(mine.size()) < k || k > PANEL) continue;
      int64_t rows[PANEL];
      float lower[PANEL], upper[PANEL];
      for (int64_t p = 0; p < k; p++) rows[p] = y.id[mine[p].second];
      fine_bounds(*query.fine, x.id[i], *reference.fine, rows, k, kernel.dots, lower, upper);
      found.limit[i] = *std::max_element(upper, upper + k);
    }
  }

  // What the hits of a tile say about its rows and, if `both`, about its columns. Returns how many pairs that were.
  int64_t add(int64_t row, int64_t q, bool both, const float* bounds, const uint64_t* hits) const {
    const Codes &x = query.codes, &y = reference.codes;
    const uint64_t valid = valid_columns(y.n, q);
    int64_t looked_at = 0;
    for (int64_t r = 0; r < std::min(kernel.rows, x.n - row); r++) {
      const int64_t i = row + r;
      int64_t columns[PANEL], rows[PANEL], n = 0;
      float lower[PANEL], upper[PANEL];
      for (uint64_t rest = hits[r] & valid; rest; rest &= rest - 1) {
        const int64_t c = __builtin_ctzll(rest), j = q * PANEL + c;
        const float bound = bounds[r * PANEL + c];
        if (is_own(i, j) || !(bound <= found.limit[i] || (both && bound <= found.limit[j]))) continue;
        columns[n] = j;
        rows[n] = y.id[j];
        lower[n] = bound;
        if (!fine) upper[n] = upper_bound(bound, x, i, y, j);
        n++;
      }
      if (fine && n) fine_bounds(*query.fine, x.id[i], *reference.fine, rows, n, kernel.dots, lower, upper);
      for (int64_t p = 0; p < n; p++) {
        if (lower[p] <= found.limit[i]) found.add(i, columns[p], lower[p], upper[p]);
        if (both && lower[p] <= found.limit[columns[p]]) found.add(columns[p], i, lower[p], upper[p]);
      }
      looked_at += n;
    }
    return looked_at;
  }

 private:
  bool is_own(int64_t i, int64_t j) const { return own >= 0 && query.codes.id[i] + own == reference.codes.id[j]; }
};

}  // namespace

std::optional<Work> nearest(const Set& query, const Set& reference, const Kernel& kernel, double scale, int64_t k,
                           int64_t own, double* distances, const Tick& tick) {
  const Codes &x = query.codes, &y = reference.codes;
  const bool once = own == 0 && x.packed == y.packed;  // the same set: a pair serves both of its rows
  const int64_t row_panels = (x.n + PANEL - 1) / PANEL, panels = (y.n + PANEL - 1) / PANEL;
  const int64_t chunks = (row_panels + CHUNK - 1) / CHUNK;
  const std::vector<float> never(y.n + PANEL, -INFINITY);
  Neighbours found(query, reference, scale, k);
  const bool fine = query.fine && reference.fine;
  const Join join{query, reference, kernel, k, own, once, fine, never.data(), found};
  bool coarse = once && query.coarse;
  const int threads = threads_for(double(x.n) * y.n * x.words);
  std::atomic<bool> stopped{false};
  std::atomic<int64_t> done{0}, looked{0};
  if (fine && CHEAP * 4 * x.words <= query.fine->width) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; chunk++)
      join.first_limits(chunk * CHUNK * PANEL, std::min(x.n, (chunk + 1) * CHUNK * PANEL));
  }
  // With projections: first the tiles beside the diagonal, where similar rows lie, so that limits are known.
  for (int pass = coarse ? 0 : 1; pass < 2; pass++) {
    const bool band_only = pass == 0, band_done = pass == 1 && coarse;
    if (band_done) {
      const Limits limits{found.limit.data(), found.limit.data(), 0, {}, nullptr};
      coarse = projections_pay(query, reference, kernel, limits);
    }
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      if (stopped) continue;
      alignas(64) float bounds[MOST_ROWS * PANEL];
      uint64_t hits[MOST_ROWS];
      const int64_t top = chunk * CHUNK, bottom = std::min(row_panels, top + CHUNK);
      const int64_t first = top * PANEL, last = std::min(bottom * PANEL, x.n);
      int64_t looked_at = 0;
      const RowCodes codes(kernel, x, first, last);
      std::optional<RowCodes> coarse_codes;
      if (band_done && coarse) coarse_codes.emplace(kernel, *query.coarse, first, last);
      for (int64_t q = once ? top : 0; q < panels; q++) {
        if (band_only && q > bottom + BAND) break;
        for (int64_t p = top; p < bottom; p++) {
          if (once && q < p) continue;
          const bool in_band = q <= p + BAND;
          if (band_only ? !in_band : band_done && in_band) continue;
          const bool both = once && p != q;
          const float* columns = both ? &found.limit[q * PANEL] : &never[q * PANEL];
          for (int64_t row = p * PANEL; row < std::min((p + 1) * PANEL, x.n); row += kernel.rows) {
            if (band_done && coarse) {
              kernel.tile({*query.coarse, row, coarse_codes->at(row), *reference.coarse, q, &found.limit[row], columns,
                           0, {}, {}}, bounds, hits);
              if (!any(hits, kernel.rows, valid_columns(y.n, q))) continue;
            }
            kernel.tile({x, row, codes.at(row), y, q, &found.limit[row], columns, 0, {}, {}}, bounds, hits);
            looked_at += join.add(row, q, both, bounds, hits);
          }
        }
      }
      done++;
      looked += looked_at;
      if (omp_get_thread_num() == 0 && !tick(double(done) / double(chunks))) stopped = true;
    }
    done = 0;
  }
  if (stopped) return std::nullopt;
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
  for (int64_t i = 0; i < x.n; i++) found.finish(i, distances + x.id[i] * k);
  return Work{looked, found.measured};
}

}  // namespace genmend
