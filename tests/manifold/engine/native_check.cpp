// The compiled engine without Python, for CPUs that are only emulated: every kernel against brute force in float64.
// Built and run by test_manifold_native_check.py; prints the kernels, and what is wrong.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "encode.h"
#include "passes.h"

namespace {

using namespace genmend;

constexpr int64_t N = 150, M = 77, K = 4;

struct Coded {
  Coded(const std::vector<float>& values, int64_t n, int64_t d, const Kernel& kernel, bool closer)
      : words((d + 63) / 64 * 64 / (kernel.bfloat16 ? 2 : 4)), padded((n + PANEL - 1) / PANEL * PANEL), center(d, 0.0),
        signs(size_t((d + 63) / 64 * 64)), packed(padded * words), bounds(padded * 5), sums(padded), ids(n),
        width((d + 63) / 64 * 64), fine_values(n * width), fine_bounds_(n * 5) {
    for (int64_t i = 0; i < n; i++) ids[i] = n - 1 - i;
    for (size_t k = 0; k < signs.size(); k++) signs[k] = k % 3 ? 1.f : -1.f;
    const Features features{values.data(), d, false};
    float* b = bounds.data();
    encode(features, {center.data(), 0.125, signs.data(), 0}, kernel,
           {n, words, packed.data(), b, b + padded, b + 2 * padded, b + 3 * padded, b + 4 * padded, sums.data(), ids.data()});
    float* f = fine_bounds_.data();
    encode_fine(features, center.data(), 0.125,
                {n, width, fine_values.data(), f, f + n, f + 2 * n, f + 3 * n, f + 4 * n});
    fine = {n, width, fine_values.data(), f, f + n, f + 2 * n, f + 3 * n, f + 4 * n};
    set = {features,
           {n, words, packed.data(), b, b + padded, b + 2 * padded, b + 3 * padded, b + 4 * padded, sums.data(), ids.data()},
           nullptr, closer ? &fine : nullptr};
  }
  Coded(const Coded&) = delete;
  int64_t words, padded;
  std::vector<double> center;
  std::vector<float> signs;
  std::vector<uint32_t> packed;
  std::vector<float> bounds;
  std::vector<int32_t> sums;
  std::vector<int64_t> ids;
  int64_t width;
  std::vector<int16_t> fine_values;
  std::vector<float> fine_bounds_;
  FineCodes fine;
  Set set;
};

std::vector<float> samples(int64_t n, int64_t d, bool spikes, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(n * d);
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < d; k++) values[i * d + k] = normal(random) + float(4 * (i % 5 == k % 5));
  if (spikes)
    for (int64_t i = 0; i < n; i++) values[i * d + (7 * i) % d] += 1e4f;
  return values;
}

double distance(const std::vector<float>& x, int64_t i, const std::vector<float>& y, int64_t j, int64_t d) {
  return std::sqrt(squared_distance({x.data(), d, false}, i, {y.data(), d, false}, j));
}

bool agrees(const Kernel& kernel, int64_t d, bool spikes, bool closer) {
  const auto x = samples(N, d, spikes, 1), y = samples(M, d, spikes, 2);
  const Coded reference(x, N, d, kernel, closer), query(y, M, d, kernel, closer);
  std::vector<double> found(N * K), radii(N);
  const auto going_on = [](double) { return true; };
  if (!nearest(reference.set, reference.set, kernel, 0.125, K, 0, found.data(), going_on)) return false;
  for (int64_t i = 0; i < N; i++) {
    std::vector<double> all;
    for (int64_t j = 0; j < N; j++)
      if (j != i) all.push_back(distance(x, i, x, j, d));
    std::sort(all.begin(), all.end());
    for (int64_t k = 0; k < K; k++)
      if (all[k] != found[i * K + k]) return false;
    radii[i] = all[K - 1];
  }
  std::vector<float> never((M + PANEL) / PANEL * PANEL + PANEL, -INFINITY), limits(reference.padded, -INFINITY);
  for (int64_t r = 0; r < N; r++) {
    const double radius = 0.125 * radii[reference.ids[r]];
    limits[r] = float(radius * radius * (1 + 0x1p-20));
  }
  std::vector<Pair> pairs;
  near_pairs(query.set, {0, query.padded / PANEL}, reference.set, {0, reference.padded / PANEL}, kernel,
             {never.data(), limits.data(), 0, {}, nullptr}, false, std::numeric_limits<int64_t>::max() / 2, pairs, going_on);
  std::set<std::pair<int64_t, int64_t>> near;
  for (const Pair& pair : pairs) {
    if (pair.distance != distance(y, pair.i, x, pair.j, d)) return false;
    near.insert({pair.i, pair.j});
  }
  for (int64_t i = 0; i < M; i++)
    for (int64_t j = 0; j < N; j++)
      if (distance(y, i, x, j, d) <= radii[j] && !near.count({i, j})) return false;
  return true;
}

}  // namespace

int main() {
  int wrong = 0;
  for (const char* const* name = kernel_names(); *name; name++) {
    const Kernel& kernel = *kernel_named(*name);
    bool right = kernel_works(kernel);
    for (int64_t d : {3, 70, 300})
      for (bool spikes : {false, true})
        for (bool closer : {false, true}) right = agrees(kernel, d, spikes, closer) && right;
    std::printf("%s %s\n", *name, right ? "right" : "WRONG");
    wrong += !right;
  }
  return wrong;
}
