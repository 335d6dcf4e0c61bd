// Lower bounds of squared distances for one tile: the inner loop of everything, one version per instruction set.
#pragma once
#include <cstdint>
#include <vector>

#include "codes.h"

namespace genmend {

// Ratio criteria a sweep may ask for at once.
constexpr int MOST_RATIOS = 2;

// Rows that a kernel takes at a time, at most; always a divisor of PANEL.
constexpr int64_t MOST_ROWS = 16;

// Some rows of x from `row` on, as many as the kernel takes at a time, against panel `panel` of y, and what makes a pair
// of them worth measuring: bound <= row_limit[r], or bound <= column_limit[c], or bound * inverse[s][c] <= least[s][r].
struct Tile {
  const Codes& x;
  int64_t row;
  const uint32_t* row_codes;  // of RowCodes
  const Codes& y;
  int64_t panel;
  const float* row_limit;     // one for each row
  const float* column_limit;  // PANEL
  int n_ratios;
  const float* inverse[MOST_RATIOS];  // PANEL each; NaN: never
  const float* least[MOST_RATIOS];    // one for each row
};

// Fills `bounds` [rows][PANEL] and sets bit c of hits[r] for every pair worth measuring.
using TileFunction = void (*)(const Tile& tile, float* bounds, uint64_t* hits);

// Products of x and each of n rows y of 16-bit codes; width is a multiple of 64, no product exceeds 32 bits.
using DotsFunction = void (*)(const int16_t* x, const int16_t* const* y, int64_t n, int64_t width, int32_t* dots);

struct Kernel {
  const char* name;
  bool bfloat16;  // what a word of a code holds: 2 bfloat16, or 4 int8
  int levels;     // integer codes lie within +-levels
  int64_t rows;      // that it takes at a time
  bool by_row;    // whether it wants the codes of x row after row, and to be begun and ended on each thread
  TileFunction tile;
  DotsFunction dots;
};

// The codes of rows first to last of x in the form in which the kernel takes them, on this thread and for as long as
// this lives.
class RowCodes {
 public:
  RowCodes(const Kernel& kernel, const Codes& x, int64_t first, int64_t last);
  ~RowCodes();
  RowCodes(const RowCodes&) = delete;
  // Codes of `row` and those after it; null where the kernel reads them from the panels.
  const uint32_t* at(int64_t row) const { return codes_.empty() ? nullptr : &codes_[(row - first_) * words_]; }

 private:
  const bool by_row_;
  const int64_t first_, words_;
  std::vector<uint32_t> codes_;
};

// The kernel of this name, or null where this CPU (or build) does not have it.
const Kernel* kernel_named(const char* name);
// Names of all kernels that this CPU can run, best first, ended by null.
const char* const* kernel_names();
// Whether the kernel's integer products are exact on this CPU.
bool kernel_works(const Kernel& kernel);

}  // namespace genmend
