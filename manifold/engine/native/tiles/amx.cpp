// AMX: tile registers of 16 rows by 64 bytes, signed by signed bytes.
#include "bounds_512.h"

#ifdef GENMEND_AMX
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

namespace genmend {

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
      finish_512(t, r, 16 * v, _mm512_cvtepi32_ps(_mm512_load_si512(dot + r * PANEL + 16 * v)), x, bounds, hits);
  }
}

// Tile registers need the CPU, the operating system, and a permission of this process.
bool amx_available() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 24 & 1) || !(d >> 25 & 1)) return false;
  constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

}  // namespace genmend
#endif
