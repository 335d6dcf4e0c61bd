// What both encodings do with a row, to be compiled for each instruction set.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__GNUC__)
#define INLINED inline __attribute__((always_inline))
#else
#define INLINED inline
#endif

namespace genmend {

constexpr int64_t BLOCK = 64;

struct Spread {
  double norm2;
  float most;
};

// Squared norm and largest magnitude of d values, in float64 and in loops that compilers turn into vectors.
INLINED Spread spread_of(const float* v, int64_t d) {
  double norm2 = 0;
  float most = 0;
  for (int64_t start = 0; start < d; start += BLOCK) {
    double squares[BLOCK];
    float magnitudes[BLOCK];
    const int64_t n = std::min(BLOCK, d - start);
    for (int64_t k = 0; k < n; k++) squares[k] = double(v[start + k]) * double(v[start + k]);
    for (int64_t k = 0; k < n; k++) magnitudes[k] = std::fabs(v[start + k]);
    for (int64_t k = n; k < BLOCK; k++) squares[k] = 0, magnitudes[k] = 0;
    for (int64_t half = BLOCK / 2; half > 0; half /= 2)
      for (int64_t k = 0; k < half; k++) {
        squares[k] += squares[k + half];
        magnitudes[k] = magnitudes[k] > magnitudes[k + half] ? magnitudes[k] : magnitudes[k + half];
      }
    norm2 += squares[0];
    most = std::max(most, magnitudes[0]);
  }
  return {norm2, most};
}

// Into v, centred and scaled; the squared norm is that of v.
template <class T>
INLINED Spread centre(const T* row, int64_t d, const double* center, double scale, float* v) {
  for (int64_t k = 0; k < d; k++) v[k] = float((double(row[k]) - center[k]) * scale);
  return spread_of(v, d);
}

// Of |value| < 2^22: adding 3 2^22 leaves it in the lowest bits.
INLINED int32_t nearest_integer(float value) {
  const float shifted = value + 0x1.8p23f;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return bits - 0x4b400000;
}

}  // namespace genmend
