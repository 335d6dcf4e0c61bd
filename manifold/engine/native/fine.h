// Codes of 16 bits, row after row, for looking at single pairs once a tile of coarser codes has left few of them.
#pragma once
#include "encode.h"
#include "exact.h"
#include "kernels.h"

namespace genmend {

// Of row i of the features, whatever the order of the other codes: as `Codes`, with its code at values + i * width.
struct FineCodes {
  int64_t n;
  int64_t width;  // a multiple of 64; zeros after the columns
  const int16_t* values;
  const float *lower, *upper, *step, *length, *error;
};

struct FineArrays {
  int64_t n, width;
  int16_t* values;
  float *lower, *upper, *step, *length, *error;
};

// Centre, scale and quantise every row. No rotation: so many levels lose nothing where a coordinate sticks out.
void encode_fine(const Features& features, const double* center, double scale, const FineArrays& out);

// Bounds of the scaled squared distances of row i of x and each of n <= PANEL rows j of y.
void fine_bounds(const FineCodes& x, int64_t i, const FineCodes& y, const int64_t* j, int64_t n, DotsFunction dots,
                 float* lower, float* upper);

}  // namespace genmend
