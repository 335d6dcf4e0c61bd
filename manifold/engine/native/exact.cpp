// numpy sums a row by halves down to 128 values, and those in eight interleaved sums (numpy's pairwise summation); the
// same order here gives the same bits. Python compares the two when it loads this (native_engine.py).
#include "exact.h"

#include <cstdlib>
#include <cstring>

#include "targets.h"

namespace genmend {
namespace {

constexpr int64_t LEAF = 128;

template <class X, class Y>
double short_sum(const X* x, const Y* y, int64_t n) {
  double sum = 0;
  for (int64_t k = 0; k < n; k++) {
    const double difference = double(x[k]) - double(y[k]);
    sum += difference * difference;
  }
  return sum;
}

inline double of_eight(const double* s) { return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7])); }

// 8 <= n <= LEAF
template <class X, class Y>
double leaf(const X* x, const Y* y, int64_t n) {
  double sum[8];
  for (int64_t b = 0; b < 8; b++) {
    const double difference = double(x[b]) - double(y[b]);
    sum[b] = difference * difference;
  }
  int64_t k = 8;
  for (; k < n - n % 8; k += 8)
    for (int64_t b = 0; b < 8; b++) {
      const double difference = double(x[k + b]) - double(y[k + b]);
      sum[b] += difference * difference;
    }
  double total = of_eight(sum);
  for (; k < n; k++) {
    const double difference = double(x[k]) - double(y[k]);
    total += difference * difference;
  }
  return total;
}

#ifdef GENMEND_X86
AVX2 inline __m256d four(const double* x) { return _mm256_loadu_pd(x); }
AVX2 inline __m256d four(const float* x) { return _mm256_cvtps_pd(_mm_loadu_ps(x)); }

template <class X, class Y>
AVX2 double leaf_avx2(const X* x, const Y* y, int64_t n) {
  __m256d low = _mm256_sub_pd(four(x), four(y)), high = _mm256_sub_pd(four(x + 4), four(y + 4));
  __m256d low_sum = _mm256_mul_pd(low, low), high_sum = _mm256_mul_pd(high, high);
  int64_t k = 8;
  for (; k < n - n % 8; k += 8) {
    low = _mm256_sub_pd(four(x + k), four(y + k));
    high = _mm256_sub_pd(four(x + k + 4), four(y + k + 4));
    low_sum = _mm256_add_pd(low_sum, _mm256_mul_pd(low, low));  // no fused multiply-add: numpy rounds twice
    high_sum = _mm256_add_pd(high_sum, _mm256_mul_pd(high, high));
  }
  double eight_sums[8];
  _mm256_storeu_pd(eight_sums, low_sum);
  _mm256_storeu_pd(eight_sums + 4, high_sum);
  double total = of_eight(eight_sums);
  for (; k < n; k++) {
    const double rest = double(x[k]) - double(y[k]);
    total += rest * rest;
  }
  return total;
}

AVX512 inline __m512d eight(const double* x) { return _mm512_loadu_pd(x); }
AVX512 inline __m512d eight(const float* x) { return _mm512_cvtps_pd(_mm256_loadu_ps(x)); }

template <class X, class Y>
AVX512 double leaf_avx512(const X* x, const Y* y, int64_t n) {
  __m512d difference = _mm512_sub_pd(eight(x), eight(y));
  __m512d sum = _mm512_mul_pd(difference, difference);
  int64_t k = 8;
  for (; k < n - n % 8; k += 8) {
    difference = _mm512_sub_pd(eight(x + k), eight(y + k));
    sum = _mm512_add_pd(sum, _mm512_mul_pd(difference, difference));  // no fused multiply-add: numpy rounds twice
  }
  double eight_sums[8];
  _mm512_storeu_pd(eight_sums, sum);
  double total = of_eight(eight_sums);
  for (; k < n; k++) {
    const double rest = double(x[k]) - double(y[k]);
    total += rest * rest;
  }
  return total;
}
#endif

template <class X, class Y>
double by_halves(const X* x, const Y* y, int64_t n, double (*of_leaf)(const X*, const Y*, int64_t)) {
  if (n < 8) return short_sum(x, y, n);
  if (n <= LEAF) return of_leaf(x, y, n);
  const int64_t half = n / 2 - n / 2 % 8;
  return by_halves(x, y, half, of_leaf) + by_halves(x + half, y + half, n - half, of_leaf);
}

// Whether this CPU stands for one without AVX-512 (native_screen.py); all leaves give the same bits.
bool held_back() {
  const char* newest = std::getenv("GENMEND_KERNEL");
  return newest && (!std::strcmp(newest, "avx2") || !std::strcmp(newest, "avxvnni"));
}

template <class X, class Y>
double of_rows(const X* x, const Y* y, int64_t n) {
#ifdef GENMEND_X86
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && !held_back();
  static const bool avx2 = __builtin_cpu_supports("avx2");
  if (avx512) return by_halves(x, y, n, leaf_avx512<X, Y>);
  if (avx2) return by_halves(x, y, n, leaf_avx2<X, Y>);
#endif
  return by_halves(x, y, n, leaf<X, Y>);
}

}  // namespace

double squared_distance(const Features& x, int64_t i, const Features& y, int64_t j) {
  const int64_t d = x.columns;
  const auto x32 = static_cast<const float*>(x.data) + i * d, y32 = static_cast<const float*>(y.data) + j * d;
  const auto x64 = static_cast<const double*>(x.data) + i * d, y64 = static_cast<const double*>(y.data) + j * d;
  if (x.float64) return y.float64 ? of_rows(x64, y64, d) : of_rows(x64, y32, d);
  return y.float64 ? of_rows(x32, y64, d) : of_rows(x32, y32, d);
}

}  // namespace genmend
