// Exact distances: the arbiter, bit for bit the same as manifold/engine/exact.py.
#pragma once
#include <cstdint>

namespace genmend {

// Rows of features as Python holds them: C-contiguous float32 or float64.
struct Features {
  const void* data;
  int64_t columns;
  bool float64;
};

// Squared Euclidean distance of row i of x and row j of y: differences in float64, summed in numpy's pairwise order.
double squared_distance(const Features& x, int64_t i, const Features& y, int64_t j);

}  // namespace genmend
