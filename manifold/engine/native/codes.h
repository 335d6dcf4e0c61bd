// The quantised form of a set of features, as views of arrays that Python owns.
#pragma once
#include <cstdint>

namespace genmend {

// Rows of a panel: the unit of storage.
constexpr int64_t PANEL = 48;

// With c a centred row and q its code: |c - step q| <= error, |step q| <= length (error and length rounded up);
// lower <= |c|^2 <= upper, each with its share of all float32 rounding taken off or added.
// Rows are stored in panels of PANEL, [panel][word][row], a word holding 4 int8 or 2 bfloat16 values of one row.
// Rows past n pad the last panel: their `lower` is infinite, so that they are never near anything.
struct Codes {
  int64_t n;
  int64_t words;  // per row
  const uint32_t* packed;
  const float *lower, *upper, *step, *length, *error;
  const int32_t* sum;  // of the row's integer codes
  const int64_t* id;   // which row of the features this is
};

// Threads for so many multiplications: little work is done before a team has woken up on a busy machine.
int threads_for(double multiplications);

}  // namespace genmend
