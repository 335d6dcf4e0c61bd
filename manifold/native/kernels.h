// Lower bounds of squared distances for one tile: the inner loop of everything, one version per instruction set.
#pragma once
#include <cstdint>

#include "codes.h"

namespace genmend {

// Ratio criteria a sweep may ask for at once.
constexpr int MOST_RATIOS = 2;

// ROWS rows of x from `row` on against panel `panel` of y, and what makes a pair of them worth measuring:
// bound <= row_limit[r], or bound <= column_limit[c], or bound * inverse[s][c] <= least[s][r].
struct Tile {
  const Codes& x;
  long row;
  const Codes& y;
  long panel;
  const float* row_limit;     // ROWS
  const float* column_limit;  // PANEL
  int n_ratios;
  const float* inverse[MOST_RATIOS];  // PANEL each; NaN: never
  const float* least[MOST_RATIOS];    // ROWS each
};

// Fills `bounds` [ROWS][PANEL] and sets bit c of hits[r] for every pair worth measuring.
using TileFunction = void (*)(const Tile& tile, float* bounds, uint64_t* hits);

struct Kernel {
  const char* name;
  bool bfloat16;  // what a word of a code holds: 2 bfloat16, or 4 int8
  int levels;     // integer codes lie within +-levels
  TileFunction tile;
};

// The kernel of this name, or null where this CPU (or build) does not have it.
const Kernel* kernel_named(const char* name);
// Names of all kernels that this CPU can run, best first, ended by null.
const char* const* kernel_names();
// Whether the kernel's integer products are exact on this CPU.
bool kernel_works(const Kernel& kernel);

}  // namespace genmend
