// What is known of the k nearest neighbours of each row while tiles go by.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "passes.h"

namespace genmend {

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

}  // namespace genmend
