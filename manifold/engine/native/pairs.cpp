// Pairs within limits: a ball that holds a query, a query ball that holds a reference, the least distance / radius.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <random>

#include "passes.h"
#include "threads.h"

namespace genmend {
namespace {

constexpr int64_t CHUNK = 4;    // panels of query rows that one thread takes at a time, against all of the reference
constexpr int64_t PROBE = 200;  // tiles that decide whether projections pay
constexpr double ROUND_UP = 1 + 0x1p-20;

struct Sweep {
  const Set& query;
  const Set& reference;
  const Kernel& kernel;
  const Limits& limits;
  bool skip_self, coarse;
  int64_t most;

  // Query panels against reference panels, from panel `start` on and round, where the nearest are expected.
  // `found` counts the pairs of all threads.
  void chunk(Panels rows, Panels columns, int64_t start, std::vector<Pair>& pairs, std::atomic<int64_t>& found) const {
    const Codes& x = query.codes;
    alignas(64) float bounds[MOST_ROWS * PANEL];
    uint64_t hits[MOST_ROWS];
    // The least (distance / radius)^2 found so far for each row, rounded up.
    const int64_t height = (rows.last - rows.first) * PANEL;
    std::vector<float> least(height * MOST_RATIOS, INFINITY);
    const auto least_of = [&](int s, int64_t row) { return &least[s * height + row - rows.first * PANEL]; };
    const int64_t width = columns.last - columns.first, first = rows.first * PANEL, last = std::min(rows.last * PANEL, x.n);
    const RowCodes codes(kernel, x, first, last);
    std::optional<RowCodes> coarse_codes;
    if (coarse) coarse_codes.emplace(kernel, *query.coarse, first, last);
    const bool fine = query.fine && reference.fine;
    for (int64_t step = 0; step < width && found <= most; step++) {
      const int64_t q = columns.first + (start - columns.first + step) % width;
      const uint64_t valid = valid_columns(reference.codes.n, q);
      const size_t before = pairs.size();
      for (int64_t row = first; row < last; row += kernel.rows) {
        Tile tile{x, row, codes.at(row), reference.codes, q, limits.query + row, limits.reference + q * PANEL,
                  limits.n_ratios, {}, {}};
        for (int s = 0; s < limits.n_ratios; s++) {
          tile.inverse[s] = limits.inverse[s] + q * PANEL;
          tile.least[s] = least_of(s, row);
        }
        if (coarse) {
          const Tile projected{*query.coarse, row, coarse_codes->at(row), *reference.coarse, q, tile.row_limit,
                               tile.column_limit, tile.n_ratios, {tile.inverse[0], tile.inverse[1]},
                               {tile.least[0], tile.least[1]}};
          kernel.tile(projected, bounds, hits);
          if (!any(hits, kernel.rows, valid)) continue;
        }
        kernel.tile(tile, bounds, hits);
        for (int64_t r = 0; r < std::min(kernel.rows, x.n - row); r++) {
          if (fine) look_closer(row + r, q, hits[r] & valid, bounds + r * PANEL);
          for (uint64_t rest = hits[r] & valid; rest; rest &= rest - 1) {
            const int64_t c = __builtin_ctzll(rest);
            if (open(tile, r, c, bounds[r * PANEL + c])) measure(row + r, q * PANEL + c, least_of, pairs);
          }
        }
      }
      found += int64_t(pairs.size() - before);
    }
  }

 private:
  // Puts the bounds of the fine codes where those of a row of a tile were, for the columns that are hit.
  void look_closer(int64_t i, int64_t panel, uint64_t hits, float* bounds) const {
    int64_t columns[PANEL], rows[PANEL], n = 0;
    float lower[PANEL], upper[PANEL];
    for (; hits; hits &= hits - 1, n++) {
      columns[n] = __builtin_ctzll(hits);
      rows[n] = reference.codes.id[panel * PANEL + columns[n]];
    }
    if (!n) return;
    fine_bounds(*query.fine, query.codes.id[i], *reference.fine, rows, n, kernel.dots, lower, upper);
    for (int64_t p = 0; p < n; p++) bounds[columns[p]] = lower[p];
  }

  // Ratios may have been found since the tile was screened.
  bool open(const Tile& tile, int64_t r, int64_t c, float bound) const {
    if (bound <= tile.row_limit[r] || bound <= tile.column_limit[c]) return true;
    for (int s = 0; s < tile.n_ratios; s++)
      if (bound * tile.inverse[s][c] <= tile.least[s][r]) return true;
    return false;
  }

  template <class LeastOf>
  void measure(int64_t i, int64_t j, const LeastOf& least_of, std::vector<Pair>& pairs) const {
    const int64_t a = query.codes.id[i], b = reference.codes.id[j];
    if (skip_self && a == b) return;
    const double squared = squared_distance(query.features, a, reference.features, b);
    for (int s = 0; s < limits.n_ratios; s++) {
      if (std::isnan(limits.inverse[s][j])) continue;
      const double ratio = std::sqrt(squared) / limits.radii[b];
      float& least = *least_of(s, i);
      least = std::min(least, float(ratio * ratio * ROUND_UP));
    }
    pairs.push_back({a, b, std::sqrt(squared)});
  }
};

}  // namespace

bool any(const uint64_t* hits, int64_t rows, uint64_t valid) {
  return std::any_of(hits, hits + rows, [valid](uint64_t h) { return h & valid; });
}

uint64_t valid_columns(int64_t n, int64_t panel) {
  const int64_t left = n - panel * PANEL;
  return left >= PANEL ? (uint64_t(1) << PANEL) - 1 : (uint64_t(1) << left) - 1;
}

bool projections_pay(const Set& query, const Set& reference, const Kernel& kernel, const Limits& limits) {
  std::mt19937_64 random(0);
  const int64_t n_rows = query.codes.n / kernel.rows, n_panels = reference.codes.n / PANEL;
  if (!query.coarse || !reference.coarse || !n_rows || !n_panels) return false;
  int64_t survivors = 0;
  for (int64_t t = 0; t < PROBE; t++) {
    const int64_t row = int64_t(random() % n_rows) * kernel.rows, panel = int64_t(random() % n_panels);
    alignas(64) float bounds[MOST_ROWS * PANEL];
    uint64_t hits[MOST_ROWS];
    const RowCodes codes(kernel, *query.coarse, row, row + kernel.rows);
    kernel.tile({*query.coarse, row, codes.at(row), *reference.coarse, panel, limits.query + row,
                 limits.reference + panel * PANEL, 0, {}, {}}, bounds, hits);
    survivors += any(hits, kernel.rows, valid_columns(reference.codes.n, panel));
  }
  return 2 * survivors < PROBE;
}

Outcome near_pairs(const Set& query, Panels rows, const Set& reference, Panels columns, const Kernel& kernel,
                   const Limits& limits, bool skip_self, int64_t most, std::vector<Pair>& pairs, const Tick& tick) {
  const int64_t chunks = (rows.last - rows.first + CHUNK - 1) / CHUNK;
  const Sweep sweep{query,     reference, kernel, limits, skip_self,
                    projections_pay(query, reference, kernel, limits), most};
  const int64_t query_panels = (query.codes.n + PANEL - 1) / PANEL;
  std::vector<std::vector<Pair>> found(chunks);  // joined in the order of the rows, whichever thread was first
  std::atomic<bool> stopped{false};
  std::atomic<int64_t> done{0}, n_found{0};
  const double work = double(rows.last - rows.first) * (columns.last - columns.first) * PANEL * PANEL * query.codes.words;
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads_for(work))
  for (int64_t chunk = 0; chunk < chunks; chunk++) {
    if (stopped || n_found > most) continue;
    const Panels mine{rows.first + chunk * CHUNK, std::min(rows.last, rows.first + (chunk + 1) * CHUNK)};
    // Both sets are in the order of the same clusters, if in any.
    const int64_t start = columns.first + (columns.last - columns.first) * mine.first / query_panels;
    sweep.chunk(mine, columns, start, found[chunk], n_found);
    done++;
    if (omp_get_thread_num() == 0 && !tick(double(done) / double(chunks))) stopped = true;
  }
  if (stopped) return Outcome::stopped;
  if (n_found > most) return Outcome::too_many;
  pairs.reserve(n_found);
  for (auto& one : found) {
    pairs.insert(pairs.end(), one.begin(), one.end());
    std::vector<Pair>().swap(one);
  }
  return Outcome::done;
}

}  // namespace genmend
