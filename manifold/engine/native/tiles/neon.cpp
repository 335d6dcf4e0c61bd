// Arm: the dot product of four signed bytes (SDOT).
#include "tiles.h"

#ifdef GENMEND_NEON
#include <arm_neon.h>

#include <cstring>
#ifdef __linux__
#include <sys/auxv.h>
#endif

namespace genmend {

NEON_DOT void tile_neon(const Tile& t, float* bounds, uint64_t* hits) {
  constexpr int64_t ROWS = 8, WIDTH = 8;  // 8 x 8 sums and their operands fit 32 registers of 4
  const uint32_t* a = t.x.packed + t.row / PANEL * t.x.words * PANEL + t.row % PANEL;
  const uint32_t* b = t.y.packed + t.panel * t.y.words * PANEL;
  std::memset(hits, 0, ROWS * sizeof *hits);
  for (int64_t left = 0; left < PANEL; left += WIDTH) {
    int32x4_t sum[ROWS][2];
#pragma GCC unroll 8
    for (int64_t r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = vdupq_n_s32(0);
    for (int64_t w = 0; w < t.x.words; w++) {
      const int8x16_t y0 = vreinterpretq_s8_u32(vld1q_u32(b + w * PANEL + left));
      const int8x16_t y1 = vreinterpretq_s8_u32(vld1q_u32(b + w * PANEL + left + 4));
#pragma GCC unroll 8
      for (int64_t r = 0; r < ROWS; r++) {
        const int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(a[w * PANEL + r]));
        sum[r][0] = vdotq_s32(sum[r][0], y0, x);
        sum[r][1] = vdotq_s32(sum[r][1], y1, x);
      }
    }
    for (int64_t r = 0; r < ROWS; r++) {
      const RowTerms x = row_terms(t.x, t.row + r);
      for (int64_t half = 0; half < 2; half++) {
        const int64_t c = left + 4 * half, j = t.panel * PANEL + c;
        float32x4_t bound = vaddq_f32(vdupq_n_f32(x.lower), vld1q_f32(t.y.lower + j));
        bound = vfmaq_f32(bound, vcvtq_f32_s32(sum[r][half]), vmulq_n_f32(vld1q_f32(t.y.step + j), x.step));
        bound = vfmsq_f32(bound, vdupq_n_f32(x.length), vld1q_f32(t.y.error + j));
        bound = vfmsq_f32(bound, vdupq_n_f32(x.error), vld1q_f32(t.y.length + j));
        vst1q_f32(bounds + r * PANEL + c, bound);
        uint32x4_t hit = vorrq_u32(vcleq_f32(bound, vdupq_n_f32(t.row_limit[r])),
                                   vcleq_f32(bound, vld1q_f32(t.column_limit + c)));
        for (int s = 0; s < t.n_ratios; s++)
          hit = vorrq_u32(hit, vcleq_f32(vmulq_f32(bound, vld1q_f32(t.inverse[s] + c)), vdupq_n_f32(t.least[s][r])));
        const uint32_t place[4] = {1, 2, 4, 8};
        hits[r] |= uint64_t(vaddvq_u32(vandq_u32(hit, vld1q_u32(place)))) << c;
      }
    }
  }
}

bool neon_available() {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  constexpr unsigned long long DOT_PRODUCT = 1 << 20;  // HWCAP_ASIMDDP
  return getauxval(AT_HWCAP) & DOT_PRODUCT;
#else
  return false;
#endif
}

}  // namespace genmend
#endif
