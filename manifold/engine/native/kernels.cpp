// Which tile functions there are, which of them this CPU can run, and whether they count right on it.
#include "kernels.h"

#include <cmath>
#include <cstring>

#include "tiles/tiles.h"

namespace genmend {
namespace {

struct Candidate {
  Kernel kernel;
  bool available;
};

const Candidate* candidates() {
#ifdef GENMEND_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
#endif
  static const Candidate all[] = {
#ifdef GENMEND_AMX
      {{"int8-amx", false, 127, 16, true, tile_amx, dots_avx2}, avx512 && avx2 && amx_available()},
#endif
#ifdef GENMEND_X86
      {{"int8-vnni", false, 127, 8, false, tile_vnni, dots_vnni}, vnni},
      {{"int8-avxvnni", false, 127, 6, false, tile_avx_vnni, dots_avx2}, avx2 && avx_vnni_available()},
      {{"int8-avx2", false, AVX2_LEVELS, 8, false, tile_avx2, dots_avx2}, avx2},
      {{"bf16", true, 0, 8, false, tile_bf16, dots_avx2},
       avx512 && avx2 && __builtin_cpu_supports("avx512bf16")},
      {{"int8-vnni-256", false, 127, 6, false, tile_vnni_256, dots_avx2}, vnni && avx2},
#endif
#ifdef GENMEND_NEON
      {{"int8-neon", false, 127, 8, false, tile_neon, dots_portable}, neon_available()},
#endif
      {{"int8-portable", false, 127, 8, false, tile_portable, dots_portable}, true},
      {{nullptr, false, 0, 0, false, nullptr, nullptr}, true},
  };
  return all;
}

}  // namespace

RowCodes::RowCodes(const Kernel& kernel, const Codes& x, int64_t first, int64_t last)
    : by_row_(kernel.by_row), first_(first), words_(x.words) {
  if (!by_row_) return;
  const int64_t end = (last + kernel.rows - 1) / kernel.rows * kernel.rows;
  codes_.resize((end - first) * words_);
  for (int64_t r = first; r < end; r++) {
    const uint32_t* from = x.packed + r / PANEL * words_ * PANEL + r % PANEL;
    for (int64_t w = 0; w < words_; w++) codes_[(r - first) * words_ + w] = from[w * PANEL];
  }
#ifdef GENMEND_AMX
  amx_begin();
#endif
}

RowCodes::~RowCodes() {
#ifdef GENMEND_AMX
  if (by_row_) amx_end();
#endif
}

const Kernel* kernel_named(const char* name) {
  for (const Candidate* one = candidates(); one->kernel.name; one++)
    if (one->available && !std::strcmp(one->kernel.name, name)) return &one->kernel;
  return nullptr;
}

const char* const* kernel_names() {
  static const char* names[12] = {};
  int64_t n = 0;
  for (const Candidate* one = candidates(); one->kernel.name; one++)
    if (one->available) names[n++] = one->kernel.name;
  return names;
}

namespace {

// Codes of the largest norm, of which two values make up all, and of many values.
bool dots_work(DotsFunction dots) {
  constexpr int64_t N = 7, WIDTH = 192;
  static int16_t codes[N][WIDTH] = {};
  uint32_t state = 54321;
  for (int64_t r = 0; r < N; r++)
    for (int64_t k = 0; k < WIDTH; k++) {
      state = state * 1664525u + 1013904223u;
      const int sign = state >> 31 ? 1 : -1, random = int(state >> 16) % 6601 - 3300;
      codes[r][k] = int16_t(r < 2 ? (k / 2 == 5 ? (r ? -32767 : 32767) : 0) : r < 4 ? sign * 3344 : random);
    }
  const int16_t* rows[N];
  for (int64_t r = 0; r < N; r++) rows[r] = codes[r];
  for (int64_t r = 0; r < N; r++) {
    int32_t found[N];
    dots(codes[r], rows, N, WIDTH, found);
    for (int64_t c = 0; c < N; c++) {
      int64_t dot = 0;
      for (int64_t k = 0; k < WIDTH; k++) dot += int64_t(codes[r][k]) * codes[c][k];
      if (found[c] != dot) return false;
    }
  }
  return true;
}

}  // namespace

// Extreme and mixed codes of step 1 and no error: the bound is -2 times the product, here an integer below 2^24.
bool kernel_works(const Kernel& kernel) {
  constexpr int64_t WORDS = 48;
  static uint32_t packed[2][WORDS * PANEL];
  float zero[PANEL] = {}, one[PANEL], never[PANEL];
  int32_t sum[2][PANEL] = {};
  int64_t id[PANEL] = {};
  uint32_t state = 12345;
  for (int64_t c = 0; c < PANEL; c++) one[c] = 1, never[c] = -INFINITY;
  const int most = kernel.bfloat16 ? 127 : kernel.levels;
  static int values[2][PANEL][WORDS * 4];
  for (int set = 0; set < 2; set++)
    for (int64_t r = 0; r < PANEL; r++)
      for (int64_t w = 0; w < WORDS; w++) {
        uint32_t word = 0;
        for (int q = 0; q < (kernel.bfloat16 ? 2 : 4); q++) {
          state = state * 1664525u + 1013904223u;
          const int random = int(state >> 16) % (2 * most + 1) - most;
          const int value = r % 4 == 0 ? most : r % 4 == 1 ? -most : random;
          values[set][r][w * 4 + q] = value;
          sum[set][r] += value;
          uint32_t bits;
          const float as_float = float(value);
          std::memcpy(&bits, &as_float, 4);
          word |= kernel.bfloat16 ? bits >> 16 << (16 * q) : uint32_t(uint8_t(int8_t(value))) << (8 * q);
        }
        packed[set][w * PANEL + r] = word;
      }
  const Codes x{PANEL, WORDS, packed[0], zero, zero, one, zero, zero, sum[0], id};
  const Codes y{PANEL, WORDS, packed[1], zero, zero, one, zero, zero, sum[1], id};
  const RowCodes row_codes(kernel, x, 0, PANEL);
  for (int64_t row = 0; row < PANEL; row += kernel.rows) {
    alignas(64) float bounds[MOST_ROWS * PANEL];
    uint64_t hits[MOST_ROWS];
    kernel.tile({x, row, row_codes.at(row), y, 0, never, zero, 0, {}, {}}, bounds, hits);
    for (int64_t r = 0; r < kernel.rows; r++)
      for (int64_t c = 0; c < PANEL; c++) {
        int64_t dot = 0;
        for (int64_t w = 0; w < WORDS; w++)
          for (int q = 0; q < (kernel.bfloat16 ? 2 : 4); q++)
            dot += int64_t(values[0][row + r][w * 4 + q]) * values[1][c][w * 4 + q];
        if (bounds[r * PANEL + c] != float(-2 * dot) || (hits[r] >> c & 1) != (dot >= 0)) return false;
      }
  }
  return dots_work(kernel.dots);
}

}  // namespace genmend
