// The two passes over pairs: nearest neighbours, and pairs within given limits. Both screen tiles and measure exactly.
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "codes.h"
#include "exact.h"
#include "fine.h"
#include "kernels.h"

namespace genmend {

// A set of features with its codes. `coarse`, if any, are codes of a projection with the same rows: a tile is skipped
// where already the projection is too far apart. `fine`, if any, are codes by which each pair that a tile leaves is
// looked at before it is measured: `codes` need not bound distances from above then, and may be those of a projection.
struct Set {
  Features features;
  Codes codes;
  const Codes* coarse;
  const FineCodes* fine;
};

// Called now and then by the calling thread with the share of the work done; false stops the pass.
using Tick = std::function<bool(double)>;

struct Pair {
  int64_t i, j;
  double distance;
};

// What makes a pair worth measuring; arrays padded to whole panels, in the order of the codes, in scaled squared units.
struct Limits {
  const float* query;      // per query row: bound <= it (-infinity: never)
  const float* reference;  // per reference row
  int n_ratios;
  const float* inverse[MOST_RATIOS];  // per reference row: 1 / squared radius, rounded down; NaN: not in this set
  const double* radii;                // per reference row of the features, for the exact ratios
};

// Pairs that tiles left, and those of them whose distance was measured (from both sides counts as two).
struct Work {
  int64_t left, measured;
};

// Distances to the k nearest rows of `reference`, ascending, for every query row: [n][k] by feature row.
// `own`: query row i is reference row own + i and no neighbour of itself; -1: the sets are different ones.
// With own 0 and the same set twice each pair of rows is looked at once. Nothing if `tick` stopped it.
std::optional<Work> nearest(const Set& query, const Set& reference, const Kernel& kernel, double scale, int64_t k,
                            int64_t own, double* distances, const Tick& tick);

// Panels of the codes from `first` on, `last` left out.
struct Panels {
  int64_t first, last;
};

enum class Outcome { done, stopped, too_many };

// All pairs of these panels within the limits, and for each set of ratios the pairs of least distance / radius of every
// query, in an order that does not depend on the number of threads. `skip_self`: leave out i == j. Gives up with
// too_many soon after `most` pairs were found.
Outcome near_pairs(const Set& query, Panels rows, const Set& reference, Panels columns, const Kernel& kernel,
                   const Limits& limits, bool skip_self, int64_t most, std::vector<Pair>& pairs, const Tick& tick);

// Whether fewer than half of some tiles, drawn at random, have a pair within the limits by their projections.
bool projections_pay(const Set& query, const Set& reference, const Kernel& kernel, const Limits& limits);

uint64_t valid_columns(int64_t n, int64_t panel);                   // a bit for each row of a panel that holds one
bool any(const uint64_t* hits, int64_t rows, uint64_t valid);    // of the hits of a tile

}  // namespace genmend
