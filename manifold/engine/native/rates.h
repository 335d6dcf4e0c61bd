// How fast this CPU multiplies: by single instructions, and by the kernels made of them. For benchmarks.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "kernels.h"

namespace genmend {

// 10^9 multiplications (and additions) a CPU second of one thread.
using Rates = std::vector<std::pair<std::string, double>>;

// Of instructions with all operands in registers: no kernel made of them can be faster.
Rates instruction_rates();
// Of tiles of so many words, with bounds and hits, from codes in the cache.
double tile_rate(const Kernel& kernel, int64_t words);
// Of the products of 16-bit codes of single pairs, from the cache.
double dots_rate(const Kernel& kernel, int64_t width);

}  // namespace genmend
