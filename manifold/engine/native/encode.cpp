// Encoding: rounding is bounded row by row, and every bound is itself rounded outwards.
#include "encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "rows.h"
#include "targets.h"
#include "threads.h"

namespace genmend {
namespace {

constexpr double UNIT = 0x1p-24;            // unit roundoff of float32
constexpr double OUTWARDS = 1 + 0x1p-21;    // more than the roundings of a norm, relatively
constexpr double SLACK = 1e-5;              // > 100 float32 roundings of a bound, relative to the two squared norms
constexpr double UNDERFLOW_ = 0x1p-80;      // covers products that underflow
constexpr double FAR = 0x1p40;              // squared norms beyond it leave float32: such rows are always measured
constexpr float LEAST_STEP = 1e-20f;        // below it a row is coded as zero, and all of it counts as error
constexpr int64_t SMALLEST_BLOCK = 64, LARGEST_BLOCK = 4096;

// In place, unscaled: the norm grows by sqrt(n), n >= 8.
INLINED void walsh_hadamard(float* v, int64_t n) {
  for (int64_t i = 0; i < n; i += 8) {
    float a[8], b[8];
    for (int64_t k = 0; k < 4; k++) a[k] = v[i + k] + v[i + k + 4], a[k + 4] = v[i + k] - v[i + k + 4];
    for (int64_t k = 0; k < 8; k += 4)
      for (int64_t q = k; q < k + 2; q++) b[q] = a[q] + a[q + 2], b[q + 2] = a[q] - a[q + 2];
    for (int64_t k = 0; k < 8; k += 2) v[i + k] = b[k] + b[k + 1], v[i + k + 1] = b[k] - b[k + 1];
  }
  for (int64_t half = 8; half < n; half *= 2)
    for (int64_t i = 0; i < n; i += 2 * half)
      for (int64_t j = i; j < i + half; j++) {
        const float a = v[j], b = v[j + half];
        v[j] = a + b;
        v[j + half] = a - b;
      }
}

int64_t rotation_block(int64_t padded) {
  int64_t block = SMALLEST_BLOCK;
  while (block < LARGEST_BLOCK && padded % (2 * block) == 0) block *= 2;
  return block;
}

uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(uint16_t half) {
  const uint32_t bits = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

struct Coded {
  double length2, error2;  // squared norms of the code and of what it leaves out
  float step;
  int32_t sum;
};

// `left` of the size of v.
INLINED Coded quantise_int8(const float* v, int64_t words, int levels, uint32_t* packed, int8_t* values, float* left) {
  const int64_t n = 4 * words;
  const float most = spread_of(v, n).most;
  Coded coded{0, 0, most / float(levels), 0};
  const bool zero = coded.step < LEAST_STEP;
  const float inverse = zero ? 0 : float(levels) / most;
  if (zero) coded.step = 0;
  int32_t squares = 0;
  int64_t length2 = 0;
  for (int64_t start = 0; start < n; start += BLOCK, length2 += squares, squares = 0)
    for (int64_t k = start; k < start + BLOCK; k++) {  // n is a multiple of 64
      const int32_t nearest = nearest_integer(v[k] * inverse), most_level = nearest > levels ? levels : nearest;
      const int32_t value = most_level < -levels ? -levels : most_level;
      left[k] = v[k] - coded.step * float(value);
      coded.sum += value;
      squares += value * value;
      values[k] = int8_t(value);
    }
  coded.error2 = spread_of(left, n).norm2;
  coded.length2 = double(coded.step) * coded.step * double(length2);
  for (int64_t w = 0; w < words; w++) std::memcpy(packed + w * PANEL, values + 4 * w, 4);
  return coded;
}

Coded round_bfloat16(const float* v, int64_t words, uint32_t* packed) {
  Coded coded{0, 0, 1, 0};
  for (int64_t w = 0; w < words; w++) {
    uint32_t word = 0;
    for (int64_t q = 0; q < 2; q++) {
      const float value = v[2 * w + q];
      const uint16_t half = std::fabs(value) < LEAST_STEP ? 0 : to_bfloat16(value);
      const double kept = from_bfloat16(half), left = value - kept;
      coded.length2 += kept * kept;
      coded.error2 += left * left;
      word |= uint32_t(half) << (16 * q);
    }
    packed[w * PANEL] = word;
  }
  return coded;
}

// Row `row` of the features becomes row `r` of the codes.
INLINED void encode_row(const Features& features, int64_t row, int64_t r, const Encoding& encoding,
                        const Kernel& kernel, const CodeArrays& out, float* v, int8_t* values, float* left) {
  const int64_t d = features.columns, padded = out.words * (kernel.bfloat16 ? 2 : 4);
  const auto* singles = static_cast<const float*>(features.data) + row * d;
  const auto* doubles = static_cast<const double*>(features.data) + row * d;
  double norm2 = features.float64 ? centre(doubles, d, encoding.center, encoding.scale, v).norm2
                                  : centre(singles, d, encoding.center, encoding.scale, v).norm2;
  const bool far = !(norm2 <= FAR);
  if (far) std::fill(v, v + d, 0.f), norm2 = 0;
  std::fill(v + d, v + padded, 0.f);
  const int64_t block = rotation_block(padded);
  const float shrink = 1 / std::sqrt(float(block));
  for (int64_t k = 0; k < padded; k++) v[k] *= encoding.signs[k] * shrink;
  for (int64_t b = 0; b < padded; b += block) walsh_hadamard(v + b, block);

  uint32_t* packed = out.packed + r / PANEL * out.words * PANEL + r % PANEL;
  const Coded coded =
      kernel.bfloat16 ? round_bfloat16(v, out.words, packed)
                      : quantise_int8(v, out.words, kernel.levels, packed, values, left);
  const double norm = std::sqrt(norm2);
  // Rounding to float32, to signs times 1/sqrt(block), in log2(block) stages of the rotation, and what a code leaves.
  const double rotation = (std::log2(double(block)) + 8) * UNIT * norm;
  // bf16: float32 sums of `padded` products, two roundings for each pair.
  const double slack = SLACK + (kernel.bfloat16 ? 1.1 * double(padded) * UNIT : 0);
  // An inexact row (extra_error) moves its own norm too.
  const double moved = encoding.extra_error * norm;
  out.step[r] = coded.step;
  out.sum[r] = coded.sum;
  out.length[r] = float(std::sqrt(coded.length2) * OUTWARDS);
  out.error[r] = float((std::sqrt(coded.error2) + rotation + moved) * OUTWARDS);
  out.lower[r] = far ? -float(FAR) : float(norm2 - slack * norm2 - 2 * moved * norm - UNDERFLOW_);
  out.upper[r] = far ? INFINITY : float(norm2 + slack * norm2 + 2 * moved * norm + moved * moved + UNDERFLOW_);
}

using RowFunction = void (*)(const Features&, int64_t row, int64_t r, const Encoding&, const Kernel&, const CodeArrays&,
                             float* v, int8_t* values, float* left);

void encode_portable(const Features& features, int64_t row, int64_t r, const Encoding& encoding, const Kernel& kernel,
                     const CodeArrays& out, float* v, int8_t* values, float* left) {
  encode_row(features, row, r, encoding, kernel, out, v, values, left);
}

AVX2 void encode_avx2(const Features& features, int64_t row, int64_t r, const Encoding& encoding, const Kernel& kernel,
                      const CodeArrays& out, float* v, int8_t* values, float* left) {
  encode_row(features, row, r, encoding, kernel, out, v, values, left);
}

}  // namespace

void encode(const Features& features, const Encoding& encoding, const Kernel& kernel, const CodeArrays& out) {
  const int64_t padded = out.words * (kernel.bfloat16 ? 2 : 4);
  std::vector<int64_t> place(out.n);  // of each row of the features, which are read in their own order
  for (int64_t r = 0; r < out.n; r++) place[out.id[r]] = r;
  const RowFunction encode_row_of = best_of<RowFunction>(encode_avx2, encode_portable);
#pragma omp parallel num_threads(threads_for(100.0 * out.n * padded))
  {
    std::vector<float> v(padded), left(padded);
    std::vector<int8_t> values(padded);
#pragma omp for schedule(dynamic, 64)
    for (int64_t row = 0; row < out.n; row++)
      encode_row_of(features, row, place[row], encoding, kernel, out, v.data(), values.data(), left.data());
  }
  for (int64_t r = out.n; r < (out.n + PANEL - 1) / PANEL * PANEL; r++) {
    out.lower[r] = INFINITY;
    out.upper[r] = INFINITY;
    out.step[r] = out.length[r] = out.error[r] = 0;
    out.sum[r] = 0;
  }
}

int threads_for(double multiplications) { return multiplications < 1e8 ? 1 : omp_get_max_threads(); }

}  // namespace genmend
