// Quantising to 16 bits, and the bounds of a pair.
//
// The products of two codes are added in 32 bits. No sum of them, whole or in part, can exceed the product of the
// codes' norms (Cauchy-Schwarz), so the step is as small as that allows: |q| <= 46340 < sqrt(2^31).
#include "fine.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "rows.h"
#include "targets.h"
#include "threads.h"

namespace genmend {
namespace {

constexpr double MOST_NORM = 46340, MOST_LEVEL = 32767;
constexpr double ROUNDED = 0.51;  // of a step: to the nearest level in float32, whose own roundings are some 2^-8 steps
constexpr double UNIT = 0x1p-24, OUTWARDS = 1 + 0x1p-21;
constexpr double SLACK = 1e-5, UNDERFLOW_ = 0x1p-80, FAR = 0x1p40;  // as in encode.cpp
constexpr double LEAST_STEP = 1e-20;

template <class T>
INLINED void encode_row(const T* row, int64_t d, int64_t i, const double* center, double scale, const FineArrays& out,
                        float* v) {
  int16_t* values = out.values + i * out.width;
  Spread spread = centre(row, d, center, scale, v);
  const bool far = !(spread.norm2 <= FAR);
  if (far) spread = {0, 0};
  const double norm2 = spread.norm2, norm = std::sqrt(norm2), half = ROUNDED * std::sqrt(double(d));
  // The code's norm is norm / step and half a level for each coordinate, at most.
  double step = std::max(spread.most / (MOST_LEVEL - 1), norm / (MOST_NORM - half - 1)) * OUTWARDS;
  double error = ROUNDED * step * std::sqrt(double(d)) + 2 * UNIT * norm;
  if (far || step < LEAST_STEP || half > MOST_NORM / 2) {
    step = 0, error = norm;
    std::memset(values, 0, size_t(out.width) * 2);
  } else {
    const float inverse = float(1 / step);
    for (int64_t k = 0; k < d; k++) values[k] = int16_t(nearest_integer(v[k] * inverse));
    std::memset(values + d, 0, size_t(out.width - d) * 2);
  }
  out.step[i] = float(step);
  out.length[i] = float((norm + error) * OUTWARDS);
  out.error[i] = float((error + 4 * UNIT * norm) * OUTWARDS);
  out.lower[i] = far ? -float(FAR) : float(norm2 - SLACK * norm2 - UNDERFLOW_);
  out.upper[i] = far ? INFINITY : float(norm2 + SLACK * norm2 + UNDERFLOW_);
}

using RowFunction = void (*)(const Features&, int64_t i, const double* center, double scale, const FineArrays&,
                             float* v);

INLINED void encode_any(const Features& features, int64_t i, const double* center, double scale, const FineArrays& out,
                        float* v) {
  const int64_t d = features.columns;
  if (features.float64)
    encode_row(static_cast<const double*>(features.data) + i * d, d, i, center, scale, out, v);
  else
    encode_row(static_cast<const float*>(features.data) + i * d, d, i, center, scale, out, v);
}

void encode_portable(const Features& features, int64_t i, const double* center, double scale, const FineArrays& out,
                     float* v) {
  encode_any(features, i, center, scale, out, v);
}

AVX2 void encode_avx2(const Features& features, int64_t i, const double* center, double scale, const FineArrays& out,
                      float* v) {
  encode_any(features, i, center, scale, out, v);
}

}  // namespace

void encode_fine(const Features& features, const double* center, double scale, const FineArrays& out) {
  const RowFunction encode_row_of = best_of<RowFunction>(encode_avx2, encode_portable);
#pragma omp parallel num_threads(threads_for(20.0 * out.n * out.width))
  {
    std::vector<float> v(features.columns);
#pragma omp for schedule(dynamic, 64)
    for (int64_t i = 0; i < out.n; i++) encode_row_of(features, i, center, scale, out, v.data());
  }
}

void fine_bounds(const FineCodes& x, int64_t i, const FineCodes& y, const int64_t* j, int64_t n, DotsFunction dots,
                 float* lower, float* upper) {
  const int16_t* rows[PANEL];
  int32_t products[PANEL];
  for (int64_t p = 0; p < n; p++) rows[p] = y.values + j[p] * y.width;
  dots(x.values + i * x.width, rows, n, x.width, products);
  for (int64_t p = 0; p < n; p++) {
    const int64_t b = j[p];
    const double product = 2 * double(x.step[i]) * y.step[b] * products[p];
    const double error = 2 * (double(x.length[i]) + x.error[i]) * y.error[b] + 2 * double(x.error[i]) * y.length[b];
    lower[p] = float(double(x.lower[i]) + y.lower[b] - product - error);
    upper[p] = float(double(x.upper[i]) + y.upper[b] - product + error);
  }
}

}  // namespace genmend
