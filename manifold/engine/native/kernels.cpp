// The tile functions: portable C++, AVX2, AVX-512 VNNI and AMX (int8), and AVX-512 BF16.
#include "kernels.h"

#include <cmath>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__)
#define GENMEND_X86 1
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(GENMEND_X86) && defined(__linux__)
#define GENMEND_AMX 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace genmend {
namespace {

constexpr int64_t ROWS = 8;  // of all kernels but AMX's

// One of the operands of an integer product has to be unsigned: 128 is added to the column's codes, and 128 times the
// sum of the row's codes taken off the product.
constexpr int OFFSET = 128;

struct RowTerms {
  float step, lower, length, error;  // -2 step; lower; 2 (length + error); 2 error
  int offset;
};

inline RowTerms row_terms(const Codes& x, int64_t i) {
  return {-2 * x.step[i], x.lower[i], 2 * (x.length[i] + x.error[i]), 2 * x.error[i], OFFSET * x.sum[i]};
}

// Cauchy-Schwarz: |c_x.c_y - step_x step_y q_x.q_y| <= (length_x + error_x) error_y + error_x length_y.
void tile_portable(const Tile& t, float* bounds, uint64_t* hits) {
  const int8_t* a = reinterpret_cast<const int8_t*>(t.x.packed + t.row / PANEL * t.x.words * PANEL);
  const int8_t* b = reinterpret_cast<const int8_t*>(t.y.packed + t.panel * t.y.words * PANEL);
  const int64_t first = t.row % PANEL, column = t.panel * PANEL;
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
    hits[r] = 0;
    int32_t dot[PANEL] = {};
    for (int64_t w = 0; w < t.x.words; w++)
      for (int64_t c = 0; c < PANEL; c++)
        for (int64_t q = 0; q < 4; q++)
          dot[c] += int32_t(a[(w * PANEL + first + r) * 4 + q]) * b[(w * PANEL + c) * 4 + q];
    for (int64_t c = 0; c < PANEL; c++) {
      const int64_t j = column + c;
      const float bound = float(dot[c]) * (x.step * t.y.step[j]) + (x.lower + t.y.lower[j]) -
                          x.length * t.y.error[j] - x.error * t.y.length[j];
      bounds[r * PANEL + c] = bound;
      bool hit = bound <= t.row_limit[r] || bound <= t.column_limit[c];
      for (int s = 0; s < t.n_ratios; s++) hit = hit || bound * t.inverse[s][c] <= t.least[s][r];
      hits[r] |= uint64_t(hit) << c;
    }
  }
}

#ifdef GENMEND_X86

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

// Products of 8-bit integers are added in pairs as 16-bit ones: (63 + 128) * 63 * 2 stays within them.
constexpr int AVX2_LEVELS = 63;

AVX2 inline int hits_avx2(const Tile& t, int64_t r, int64_t c, __m256 bound) {
  __m256 hit = _mm256_cmp_ps(bound, _mm256_set1_ps(t.row_limit[r]), _CMP_LE_OQ);
  hit = _mm256_or_ps(hit, _mm256_cmp_ps(bound, _mm256_loadu_ps(t.column_limit + c), _CMP_LE_OQ));
  for (int s = 0; s < t.n_ratios; s++)
    hit = _mm256_or_ps(hit, _mm256_cmp_ps(_mm256_mul_ps(bound, _mm256_loadu_ps(t.inverse[s] + c)),
                                          _mm256_set1_ps(t.least[s][r]), _CMP_LE_OQ));
  return _mm256_movemask_ps(hit);
}

AVX2 void tile_avx2(const Tile& t, float* bounds, uint64_t* hits) {
  constexpr int64_t HALF = ROWS / 2, WIDTH = 16;  // 4 x 16 sums and their operands fit 16 registers
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  const __m256i offset = _mm256_set1_epi32(int(0x80808080u)), ones = _mm256_set1_epi16(1);
  std::memset(hits, 0, ROWS * sizeof *hits);
  for (int64_t top = 0; top < ROWS; top += HALF)
    for (int64_t left = 0; left < PANEL; left += WIDTH) {
      __m256i sum[HALF][2];
      for (auto& row : sum) row[0] = row[1] = _mm256_setzero_si256();
      for (int64_t w = 0; w < t.x.words; w++) {
        const auto* y = reinterpret_cast<const __m256i*>(b + w * PANEL + left);
        const __m256i y0 = _mm256_xor_si256(_mm256_loadu_si256(y), offset);
        const __m256i y1 = _mm256_xor_si256(_mm256_loadu_si256(y + 1), offset);
#pragma GCC unroll 4
        for (int64_t r = 0; r < HALF; r++) {
          const __m256i x = _mm256_set1_epi32(int(a[w * PANEL + top + r]));
          sum[r][0] = _mm256_add_epi32(sum[r][0], _mm256_madd_epi16(_mm256_maddubs_epi16(y0, x), ones));
          sum[r][1] = _mm256_add_epi32(sum[r][1], _mm256_madd_epi16(_mm256_maddubs_epi16(y1, x), ones));
        }
      }
      for (int64_t r = 0; r < HALF; r++) {
        const RowTerms x = row_terms(t.x, t.row + top + r);
        for (int64_t half = 0; half < 2; half++) {
          const int64_t c = left + 8 * half, j = t.panel * PANEL + c;
          const __m256 dot = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum[r][half], _mm256_set1_epi32(x.offset)));
          const __m256 norms = _mm256_add_ps(_mm256_set1_ps(x.lower), _mm256_loadu_ps(t.y.lower + j));
          __m256 bound = _mm256_fmadd_ps(
              dot, _mm256_mul_ps(_mm256_set1_ps(x.step), _mm256_loadu_ps(t.y.step + j)), norms);
          bound = _mm256_fnmadd_ps(_mm256_set1_ps(x.length), _mm256_loadu_ps(t.y.error + j), bound);
          bound = _mm256_fnmadd_ps(_mm256_set1_ps(x.error), _mm256_loadu_ps(t.y.length + j), bound);
          _mm256_storeu_ps(bounds + (top + r) * PANEL + c, bound);
          hits[top + r] |= uint64_t(hits_avx2(t, top + r, c, bound)) << c;
        }
      }
    }
}

AVX512 inline void finish_avx512(const Tile& t, int64_t r, int64_t c, __m512 dot, const RowTerms& x, float* bounds,
                                 uint64_t* hits) {
  const int64_t j = t.panel * PANEL + c;
  const __m512 norms = _mm512_add_ps(_mm512_set1_ps(x.lower), _mm512_loadu_ps(t.y.lower + j));
  __m512 bound =
      _mm512_fmadd_ps(dot, _mm512_mul_ps(_mm512_set1_ps(x.step), _mm512_loadu_ps(t.y.step + j)), norms);
  bound = _mm512_fnmadd_ps(_mm512_set1_ps(x.length), _mm512_loadu_ps(t.y.error + j), bound);
  bound = _mm512_fnmadd_ps(_mm512_set1_ps(x.error), _mm512_loadu_ps(t.y.length + j), bound);
  _mm512_storeu_ps(bounds + r * PANEL + c, bound);
  __mmask16 hit = _mm512_cmp_ps_mask(bound, _mm512_set1_ps(t.row_limit[r]), _CMP_LE_OQ) |
                  _mm512_cmp_ps_mask(bound, _mm512_loadu_ps(t.column_limit + c), _CMP_LE_OQ);
  for (int s = 0; s < t.n_ratios; s++)
    hit |= _mm512_cmp_ps_mask(_mm512_mul_ps(bound, _mm512_loadu_ps(t.inverse[s] + c)),
                              _mm512_set1_ps(t.least[s][r]), _CMP_LE_OQ);
  hits[r] |= uint64_t(hit) << c;
}

AVX512_VNNI void tile_vnni(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  const __m512i offset = _mm512_set1_epi32(int(0x80808080u));
  __m512i sum[ROWS][3];
  for (auto& row : sum)
    for (auto& one : row) one = _mm512_setzero_si512();
  for (int64_t w = 0; w < t.x.words; w++, a += PANEL, b += PANEL) {
    const __m512i y0 = _mm512_xor_si512(_mm512_loadu_si512(b), offset);
    const __m512i y1 = _mm512_xor_si512(_mm512_loadu_si512(b + 16), offset);
    const __m512i y2 = _mm512_xor_si512(_mm512_loadu_si512(b + 32), offset);
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) {
      const __m512i x = _mm512_set1_epi32(int(a[r]));
      sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], y0, x);
      sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], y1, x);
      sum[r][2] = _mm512_dpbusd_epi32(sum[r][2], y2, x);
    }
  }
  std::memset(hits, 0, ROWS * sizeof *hits);
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
#pragma GCC unroll 3
    for (int64_t v = 0; v < 3; v++)
      finish_avx512(t, r, 16 * v,
                    _mm512_cvtepi32_ps(_mm512_sub_epi32(sum[r][v], _mm512_set1_epi32(x.offset))), x, bounds, hits);
  }
}

AVX512_BF16 void tile_bf16(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  __m512 sum[ROWS][3];
  for (auto& row : sum)
    for (auto& one : row) one = _mm512_setzero_ps();
  for (int64_t w = 0; w < t.x.words; w++, a += PANEL, b += PANEL) {
    const __m512bh y0 = (__m512bh)_mm512_loadu_si512(b);
    const __m512bh y1 = (__m512bh)_mm512_loadu_si512(b + 16);
    const __m512bh y2 = (__m512bh)_mm512_loadu_si512(b + 32);
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) {
      const __m512bh x = (__m512bh)_mm512_set1_epi32(int(a[r]));
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], y0, x);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], y1, x);
      sum[r][2] = _mm512_dpbf16_ps(sum[r][2], y2, x);
    }
  }
  std::memset(hits, 0, ROWS * sizeof *hits);
#pragma GCC unroll 8
  for (int64_t r = 0; r < ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
#pragma GCC unroll 3
    for (int64_t v = 0; v < 3; v++) finish_avx512(t, r, 16 * v, sum[r][v], x, bounds, hits);
  }
}

#ifdef GENMEND_AMX
#define AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")))

constexpr int64_t AMX_ROWS = 16, AMX_WORDS = 16;  // a tile register: 16 rows of 64 bytes

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

AMX void amx_begin() {
  static const TileShapes shapes;
  _tile_loadconfig(&shapes);
}

AMX void amx_end() { _tile_release(); }

// A panel of y, four codes of a row in a word and words outermost, is already the right operand.
AMX void tile_amx(const Tile& t, float* bounds, uint64_t* hits) {
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  for (int64_t w = 0; w < t.x.words; w += AMX_WORDS, b += AMX_WORDS * PANEL) {
    _tile_loadd(3, t.row_codes + w, t.x.words * 4);
    _tile_loadd(4, b, PANEL * 4);
    _tile_loadd(5, b + 16, PANEL * 4);
    _tile_loadd(6, b + 32, PANEL * 4);
    _tile_dpbssd(0, 3, 4);
    _tile_dpbssd(1, 3, 5);
    _tile_dpbssd(2, 3, 6);
  }
  alignas(64) int32_t dot[AMX_ROWS * PANEL];
  _tile_stored(0, dot, PANEL * 4);
  _tile_stored(1, dot + 16, PANEL * 4);
  _tile_stored(2, dot + 32, PANEL * 4);
  std::memset(hits, 0, AMX_ROWS * sizeof *hits);
  for (int64_t r = 0; r < AMX_ROWS; r++) {
    const RowTerms x = row_terms(t.x, t.row + r);
#pragma GCC unroll 3
    for (int64_t v = 0; v < 3; v++)
      finish_avx512(t, r, 16 * v, _mm512_cvtepi32_ps(_mm512_load_si512(dot + r * PANEL + 16 * v)), x, bounds, hits);
  }
}

// Tile registers need the CPU, the operating system, and a permission of this process.
bool amx_available() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 25 & 1)) return false;
  constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#else
bool amx_available() { return false; }
void amx_begin() {}
void amx_end() {}
constexpr int64_t AMX_ROWS = 16;
constexpr TileFunction tile_amx = nullptr;
#endif

#endif  // GENMEND_X86

struct Candidate {
  Kernel kernel;
  bool available;
};

const Candidate* candidates() {
#ifdef GENMEND_X86
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const Candidate all[] = {
      {{"int8-amx", false, 127, AMX_ROWS, true, tile_amx}, avx512 && amx_available()},
      {{"int8-vnni", false, 127, ROWS, false, tile_vnni}, avx512 && __builtin_cpu_supports("avx512vnni")},
      {{"int8-avx2", false, AVX2_LEVELS, ROWS, false, tile_avx2},
       __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
      {{"bf16", true, 0, ROWS, false, tile_bf16}, avx512 && __builtin_cpu_supports("avx512bf16")},
      {{"int8-portable", false, 127, ROWS, false, tile_portable}, true},
      {{nullptr, false, 0, 0, false, nullptr}, true},
  };
#else
  static const Candidate all[] = {
      {{"int8-portable", false, 127, ROWS, false, tile_portable}, true},
      {{nullptr, false, 0, 0, false, nullptr}, true},
  };
#endif
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
#ifdef GENMEND_X86
  amx_begin();
#endif
}

RowCodes::~RowCodes() {
#ifdef GENMEND_X86
  if (by_row_) amx_end();
#endif
}

const Kernel* kernel_named(const char* name) {
  for (const Candidate* one = candidates(); one->kernel.name; one++)
    if (one->available && !std::strcmp(one->kernel.name, name)) return &one->kernel;
  return nullptr;
}

const char* const* kernel_names() {
  static const char* names[8] = {};
  int64_t n = 0;
  for (const Candidate* one = candidates(); one->kernel.name; one++)
    if (one->available) names[n++] = one->kernel.name;
  return names;
}

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
  return true;
}

}  // namespace genmend
