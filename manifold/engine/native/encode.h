// From features to codes.
#pragma once
#include "codes.h"
#include "exact.h"
#include "kernels.h"

namespace genmend {

// Where the codes go: the arrays of `Codes`, writable.
struct CodeArrays {
  int64_t n, words;
  uint32_t* packed;
  float *lower, *upper, *step, *length, *error;
  int32_t* sum;
  const int64_t* id;  // given: code row r is feature row id[r], each of them once
};

struct Encoding {
  const double* center;  // one for each column
  double scale;          // a power of two that brings centred features to about 1
  const float* signs;    // +-1 for each padded column
  double extra_error;    // by how much of its norm a row may differ from the exact vector it stands for
};

// Centre, scale, rotate by random signs and Walsh-Hadamard blocks, and quantise every row for `kernel`.
void encode(const Features& features, const Encoding& encoding, const Kernel& kernel, const CodeArrays& out);

}  // namespace genmend
