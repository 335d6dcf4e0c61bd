// k nearest neighbours: k-th smallest upper bounds rule pairs out, the few candidates left are measured exactly.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <optional>

#include "passes.h"
#include "threads.h"

namespace genmend {
namespace {

constexpr int64_t CHUNK = 4;        // panels of rows that one thread takes at a time, against all columns
constexpr int64_t BAND = 4;         // panels beside the diagonal that are not skipped: they give the first radii
constexpr int64_t MOST_CANDIDATES = 6;  // and 2 k: how many wait until some are measured; 8 bytes each
constexpr double ROUND_UP = 1 + 0x1p-20;

struct Candidate {
  float bound;
  int32_t row;  // of the reference's codes
};

// What is known about the neighbours of every query row (by code row).
class Neighbours {
 public:
  Neighbours(const Set& query, const Set& reference, double scale, int64_t k)
      : limit(query.codes.n + PANEL, INFINITY), query_(query), reference_(reference), scale2_(scale * scale), k_(k),
        most_(MOST_CANDIDATES + 2 * k), upper_(query.codes.n * k, INFINITY), exact_(query.codes.n * k),
        counts_(query.codes.n), candidates_(new Candidate[query.codes.n * most_]), waiting_(query.codes.n),
        locks_(query.codes.n) {}

  // Scaled squared distance that a new neighbour's lower bound must not exceed. Read without a lock: it only falls.
  std::vector<float> limit;
  // Distances measured so far.
  std::atomic<int64_t> measured{0};

  void add(int64_t i, int64_t row, float lower, float upper) {
    while (locks_[i].test_and_set(std::memory_order_acquire)) {
    }
    if (lower <= limit[i]) {
      if (waiting_[i] == most_) compact(i);
      candidates_[i * most_ + waiting_[i]++] = {lower, int32_t(row)};
      push_upper(i, upper);
    }
    locks_[i].clear(std::memory_order_release);
  }

  void finish(int64_t i, double* distances) {
    measure(i);
    std::copy_n(&exact_[i * k_], k_, distances);
  }

 private:
  // A max-heap of the k smallest upper bounds; its root limits the k-th distance.
  void push_upper(int64_t i, float upper) {
    float* heap = &upper_[i * k_];
    if (upper >= heap[0]) return;
    int64_t parent = 0;
    for (;;) {
      int64_t child = 2 * parent + 1;
      if (child >= k_) break;
      if (child + 1 < k_ && heap[child + 1] > heap[child]) child++;
      if (heap[child] <= upper) break;
      heap[parent] = heap[child];
      parent = child;
    }
    heap[parent] = upper;
    limit[i] = std::min(limit[i], heap[0]);
  }

  void compact(int64_t i) {
    Candidate* mine = &candidates_[i * most_];
    const float now = limit[i];
    waiting_[i] = int32_t(
        std::remove_if(mine, mine + waiting_[i], [now](const Candidate& c) { return c.bound > now; }) - mine);
    if (2 * waiting_[i] > most_) measure(i);
  }

  void measure(int64_t i) {
    Candidate* mine = &candidates_[i * most_];
    double* best = &exact_[i * k_];  // ascending distances
    int32_t& n = counts_[i];
    int64_t count = 0;
    std::sort(mine, mine + waiting_[i], [](const Candidate& a, const Candidate& b) { return a.bound < b.bound; });
    for (const Candidate* one = mine; one < mine + waiting_[i]; one++) {
      if (n == k_ && one->bound > limit_of(best[k_ - 1])) break;
      count++;
      const double distance = std::sqrt(squared_distance(query_.features, query_.codes.id[i], reference_.features,
                                                         reference_.codes.id[one->row]));
      double* at = std::upper_bound(best, best + n, distance);
      if (at == best + k_) continue;
      n = std::min<int32_t>(n + 1, int32_t(k_));
      std::move_backward(at, best + n - 1, best + n);
      *at = distance;
    }
    waiting_[i] = 0;
    measured.fetch_add(count, std::memory_order_relaxed);
    if (n == k_)  // nothing lowers a zero
      limit[i] = best[k_ - 1] == 0 ? -INFINITY : std::min(limit[i], limit_of(best[k_ - 1]));
  }

  float limit_of(double distance) const { return float(distance * distance * scale2_ * ROUND_UP); }

  const Set& query_;
  const Set& reference_;
  const double scale2_;
  const int64_t k_, most_;
  std::vector<float> upper_;
  std::vector<double> exact_;
  std::vector<int32_t> counts_;  // of distances in exact_
  std::unique_ptr<Candidate[]> candidates_;  // most_ for each row, of which waiting_ are there; pages come when used
  std::vector<int32_t> waiting_;
  std::vector<std::atomic_flag> locks_;
};

float upper_bound(float lower_bound, const Codes& x, int64_t i, const Codes& y, int64_t j) {
  const float error = 2 * (x.length[i] + x.error[i]) * y.error[j] + 2 * x.error[i] * y.length[j];
  return lower_bound + (x.upper[i] - x.lower[i]) + (y.upper[j] - y.lower[j]) + 2 * error;
}

}  // namespace

int64_t nearest(const Set& query, const Set& reference, const Kernel& kernel, double scale, int64_t k, int64_t own,
             double* distances, const Tick& tick) {
  const Codes &x = query.codes, &y = reference.codes;
  const bool once = own == 0 && x.packed == y.packed;  // the same set: a pair serves both of its rows
  const int64_t row_panels = (x.n + PANEL - 1) / PANEL, panels = (y.n + PANEL - 1) / PANEL;
  const int64_t chunks = (row_panels + CHUNK - 1) / CHUNK;
  const std::vector<float> never(y.n + PANEL, -INFINITY);
  Neighbours found(query, reference, scale, k);
  bool coarse = once && query.coarse;
  const int threads = threads_for(double(x.n) * y.n * x.words);
  std::atomic<bool> stopped{false};
  std::atomic<int64_t> done{0};
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
      const RowCodes codes(kernel, x, first, last);
      std::optional<RowCodes> coarse_codes;
      if (band_done && coarse) coarse_codes.emplace(kernel, *query.coarse, first, last);
      for (int64_t q = once ? top : 0; q < panels; q++) {
        if (band_only && q > bottom + BAND) break;
        for (int64_t p = top; p < bottom; p++) {
          if (once && q < p) continue;
          const bool in_band = q <= p + BAND;
          if (band_only ? !in_band : band_done && in_band) continue;
          const uint64_t valid = valid_columns(y.n, q);
          const bool both = once && p != q;
          const float* columns = both ? &found.limit[q * PANEL] : &never[q * PANEL];
          for (int64_t row = p * PANEL; row < std::min((p + 1) * PANEL, x.n); row += kernel.rows) {
            if (band_done && coarse) {
              kernel.tile({*query.coarse, row, coarse_codes->at(row), *reference.coarse, q, &found.limit[row], columns,
                           0, {}, {}}, bounds, hits);
              if (!any(hits, kernel.rows, valid)) continue;
            }
            kernel.tile({x, row, codes.at(row), y, q, &found.limit[row], columns, 0, {}, {}}, bounds, hits);
            for (int64_t r = 0; r < std::min(kernel.rows, x.n - row); r++)
              for (uint64_t rest = hits[r] & valid; rest; rest &= rest - 1) {
                const int64_t c = __builtin_ctzll(rest), i = row + r, j = q * PANEL + c;
                if (own >= 0 && x.id[i] + own == y.id[j]) continue;
                const float lower = bounds[r * PANEL + c], upper = upper_bound(lower, x, i, y, j);
                if (lower <= found.limit[i]) found.add(i, j, lower, upper);
                if (both && lower <= found.limit[j]) found.add(j, i, lower, upper);
              }
          }
        }
      }
      done++;
      if (omp_get_thread_num() == 0 && !tick(double(done) / double(chunks))) stopped = true;
    }
    done = 0;
  }
  if (stopped) return -1;
#pragma omp parallel for schedule(dynamic, 64) num_threads(threads)
  for (int64_t i = 0; i < x.n; i++) found.finish(i, distances + x.id[i] * k);
  return found.measured;
}

}  // namespace genmend
