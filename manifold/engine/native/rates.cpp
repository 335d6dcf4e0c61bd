#include "rates.h"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "targets.h"

namespace genmend {
namespace {

constexpr double SECONDS = 0.03;
constexpr int REPEATS = 3;  // of which the fastest counts: other work disturbs

template <class Work>
double rate(double multiplications, const Work& work) {
  double fastest = 0;
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    int64_t n = 0;
    const std::clock_t start = std::clock();
    std::clock_t taken = 0;
    while (double(taken) < SECONDS * CLOCKS_PER_SEC) {
      work();
      n++;
      taken = std::clock() - start;
    }
    fastest = std::max(fastest, double(n) * multiplications * CLOCKS_PER_SEC / double(taken) / 1e9);
  }
  return fastest;
}

#ifdef GENMEND_X86

constexpr int ROUNDS = 20000;

#define LOW "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
            "xmm13", "xmm14", "xmm15"
#define EIGHT(one) one("0") one("1") one("2") one("3") one("4") one("5") one("6") one("7")
#define TWELVE(one) EIGHT(one) one("8") one("9") one("10") one("11")
#define WORK(name, target, text)                                        \
  target void name() {                                                  \
    for (int round = 0; round < ROUNDS; round++) asm volatile(text ::: LOW); \
  }

#define FMA_256(k) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" k "\n"
#define FMA_512(k) "vfmadd231ps %%zmm14, %%zmm15, %%zmm" k "\n"
#define BF16_512(k) "vdpbf16ps %%zmm14, %%zmm15, %%zmm" k "\n"
#define VNNI_512(k) "vpdpbusd %%zmm14, %%zmm15, %%zmm" k "\n"
#define VNNI_256(k) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" k "\n"
#define SHORTS(k) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n" "vpaddd %%ymm13, %%ymm" k ", %%ymm" k "\n"
#define BYTES(k)                              \
  "vpmaddubsw %%ymm14, %%ymm15, %%ymm13\n"    \
  "vpmaddubsw %%ymm15, %%ymm14, %%ymm12\n"    \
  "vpaddw %%ymm12, %%ymm13, %%ymm13\n"        \
  "vpmaddwd %%ymm11, %%ymm13, %%ymm13\n"      \
  "vpaddd %%ymm13, %%ymm" k ", %%ymm" k "\n"
// Zeros multiply as fast as anything, and no faster.
#define ZEROS "vzeroall\n"

WORK(fma_256, AVX2, ZEROS TWELVE(FMA_256) TWELVE(FMA_256) TWELVE(FMA_256) TWELVE(FMA_256))
WORK(fma_512, AVX512, ZEROS TWELVE(FMA_512) TWELVE(FMA_512) TWELVE(FMA_512) TWELVE(FMA_512))
WORK(bf16_512, AVX512_BF16, ZEROS TWELVE(BF16_512) TWELVE(BF16_512) TWELVE(BF16_512) TWELVE(BF16_512))
WORK(vnni_512, AVX512_VNNI, ZEROS TWELVE(VNNI_512) TWELVE(VNNI_512) TWELVE(VNNI_512) TWELVE(VNNI_512))
WORK(vnni_256, AVX2, ZEROS TWELVE(VNNI_256) TWELVE(VNNI_256) TWELVE(VNNI_256) TWELVE(VNNI_256))
WORK(shorts_256, AVX2, ZEROS EIGHT(SHORTS) EIGHT(SHORTS) EIGHT(SHORTS) EIGHT(SHORTS))
WORK(bytes_256, AVX2, ZEROS EIGHT(BYTES) EIGHT(BYTES) EIGHT(BYTES) EIGHT(BYTES))

#endif

}  // namespace

Rates instruction_rates() {
  Rates found;
#ifdef GENMEND_X86
  const auto add = [&](const char* name, double multiplications, void (*work)()) {
    found.emplace_back(name, rate(ROUNDS * multiplications, work));
  };
  if (kernel_named("int8-avx2")) {
    add("float32 vfmadd, 256 bits", 48 * 8, fma_256);
    add("int16 vpmaddwd, 256 bits", 32 * 16, shorts_256);
    add("int8 vpmaddubsw, 256 bits", 32 * 64, bytes_256);
  }
  if (kernel_named("int8-avxvnni")) add("int8 vpdpbusd, 256 bits", 48 * 32, vnni_256);
  if (kernel_named("int8-vnni")) {
    add("float32 vfmadd, 512 bits", 48 * 16, fma_512);
    add("int8 vpdpbusd, 512 bits", 48 * 64, vnni_512);
  }
  if (kernel_named("bf16")) add("bfloat16 vdpbf16ps, 512 bits", 48 * 32, bf16_512);
#endif
  return found;
}

double tile_rate(const Kernel& kernel, int64_t words) {
  constexpr int64_t PANELS = 12, ROW_PANELS = 4, N = PANELS * PANEL;
  std::vector<uint32_t> packed(N * words, kernel.bfloat16 ? 0x3f803f80u : 0x01010101u);
  std::vector<float> zero(N, 0), one(N, 1), never(N, -INFINITY);
  std::vector<int32_t> sum(N, 0);
  std::vector<int64_t> id(N, 0);
  const Codes x{N, words, packed.data(), one.data(), one.data(), one.data(), zero.data(), zero.data(), sum.data(),
                id.data()};
  const RowCodes codes(kernel, x, 0, ROW_PANELS * PANEL);
  alignas(64) float bounds[MOST_ROWS * PANEL];
  uint64_t hits[MOST_ROWS];
  const double values = double(words) * (kernel.bfloat16 ? 2 : 4);
  return rate(double(N - ROW_PANELS * PANEL) * ROW_PANELS * PANEL * values, [&] {
    for (int64_t q = ROW_PANELS; q < PANELS; q++)
      for (int64_t row = 0; row < ROW_PANELS * PANEL; row += kernel.rows)
        kernel.tile({x, row, codes.at(row), x, q, never.data(), never.data(), 0, {}, {}}, bounds, hits);
  });
}

double dots_rate(const Kernel& kernel, int64_t width) {
  std::vector<int16_t> codes(PANEL * width, 1);
  const int16_t* rows[PANEL];
  for (int64_t r = 0; r < PANEL; r++) rows[r] = &codes[r * width];
  int32_t products[PANEL];
  return rate(double(PANEL) * PANEL * width, [&] {
    for (int64_t r = 0; r < PANEL; r++) kernel.dots(rows[r], rows, PANEL, width, products);
  });
}

}  // namespace genmend
