// The tile functions, one file for each instruction set, and what they share.
#pragma once
#include "../kernels.h"
#include "../targets.h"

namespace genmend {

// Where one of the operands of an integer product has to be unsigned, `offset` is added to the column's codes, and
// `offset` times the sum of the row's codes taken off the product.
struct RowTerms {
  float step, lower, length, error;  // -2 step; lower; 2 (length + error); 2 error
  int offset;
};

inline RowTerms row_terms(const Codes& x, int64_t i, int offset = 0) {
  return {-2 * x.step[i], x.lower[i], 2 * (x.length[i] + x.error[i]), 2 * x.error[i], offset * x.sum[i]};
}

// Every product of them in pairs, and two such pairs, are 16-bit integers: 2 (63 + 63) 63 2 = 31,752.
constexpr int AVX2_LEVELS = 63;

void tile_portable(const Tile& tile, float* bounds, uint64_t* hits);
void dots_portable(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots);

#ifdef GENMEND_X86
void tile_avx2(const Tile& tile, float* bounds, uint64_t* hits);
void dots_avx2(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots);
void tile_avx_vnni(const Tile& tile, float* bounds, uint64_t* hits);
bool avx_vnni_available();
void tile_vnni_256(const Tile& tile, float* bounds, uint64_t* hits);
void tile_vnni(const Tile& tile, float* bounds, uint64_t* hits);
void dots_vnni(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots);
void tile_bf16(const Tile& tile, float* bounds, uint64_t* hits);
#endif

#ifdef GENMEND_AMX
void tile_amx(const Tile& tile, float* bounds, uint64_t* hits);
void amx_begin();
void amx_end();
bool amx_available();
#endif

#ifdef GENMEND_NEON
void tile_neon(const Tile& tile, float* bounds, uint64_t* hits);
bool neon_available();
#endif

}  // namespace genmend
