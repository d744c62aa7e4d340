// What this machine can do: the limits that every timing is a fraction of.
//
// Both are measured, never computed from a data sheet, and are cheap (some 50 ms) so that they can be repeated next to
// each timing: clocks and neighbours on shared machines change by the second.
#pragma once

#include <attenta/core/isa.hpp>

#include <algorithm>
#include <cstddef>

namespace bench {

struct Limits {
    double flops = 0;  ///< float32 operations per second, an FMA counts as two
    double bytes = 0;  ///< bytes per second read from memory
};

/// Of measurements before and after a timing: clocks only fall, so the better peak; bandwidth is shared with whoever
/// else reads, so what there was on average.
inline Limits around(Limits before, Limits after) {
    return {std::max(before.flops, after.flops), (before.bytes + after.bytes) / 2};
}

/// Best rate of 8 to 28 independent multiply-add chains per thread, over the vector widths up to that of `isa`. On sse2
/// a multiply-add is two instructions. `isa` must be one that this processor runs.
double fma_peak(int threads, attenta::Isa isa);

/// The widest instruction set that this processor runs.
attenta::Isa widest_isa();

/// Rate of reading a buffer of more than four times the last-level cache (at most 1 GiB): the best of 1 to 8 streams per
/// thread, with and without software prefetch, each the median of its runs, as timings are.
double stream_bandwidth(int threads);

inline Limits measure_limits(int threads, attenta::Isa isa) {
    return {fma_peak(threads, isa), stream_bandwidth(threads)};
}

/// Bytes of the largest cache; where the system does not tell, 32 MiB.
std::size_t last_level_cache();

}  // namespace bench
