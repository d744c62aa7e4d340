// The benchmarks of reading exact weights while attending, what read-outs and eviction policies are made of:
//
//   analysis/attenta/<column_sums|distance_sums|last_rows>/prefill/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1
//       attention_ratio  time of attention with what is read / time of attention alone, turn by turn
//
// Sums need statistics of all rows first, so outputs come with the second pass; last rows, 32 of them, are passes over these.
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_observers();

}  // namespace bench
