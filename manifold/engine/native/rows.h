// What both encodings do with a row, to be compiled for each instruction set. Sums and maxima are kept in eight parts,
// so that they can be taken side by side.
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

constexpr int64_t PARTS = 8;

struct Spread {
  double norm2;
  float most;
};

// Into v, centred and scaled.
template <class T>
INLINED Spread centre(const T* row, int64_t d, const double* center, double scale, float* v) {
  double sum[PARTS] = {};
  float most[PARTS] = {};
  int64_t k = 0;
  for (; k + PARTS <= d; k += PARTS)
    for (int64_t s = 0; s < PARTS; s++) {
      const double c = (double(row[k + s]) - center[k + s]) * scale;
      sum[s] += c * c;
      v[k + s] = float(c);
      most[s] = std::max(most[s], std::fabs(v[k + s]));
    }
  for (; k < d; k++) {
    const double c = (double(row[k]) - center[k]) * scale;
    sum[0] += c * c;
    v[k] = float(c);
    most[0] = std::max(most[0], std::fabs(v[k]));
  }
  for (int64_t s = 1; s < PARTS; s++) sum[0] += sum[s], most[0] = std::max(most[0], most[s]);
  return {sum[0], most[0]};
}

// Of |value| < 2^22: adding 3 2^22 leaves it in the lowest bits.
INLINED int32_t nearest_integer(float value) {
  const float shifted = value + 0x1.8p23f;
  int32_t bits;
  std::memcpy(&bits, &shifted, 4);
  return bits - 0x4b400000;
}

}  // namespace genmend
