// The benchmarks of sparse attention, float32, K and V in as many copies as are needed to come from memory.
// Sampled as in attend.hpp; counters:
//
//   dense_ratio  time of attenta's exact attention, causal unless the name says `full`, on the same tensors, measured in the
//                same process / this time. CPU time here, in of_dense and in selection: neighbours disturb it less
//   density      share of exact attention's pairs of a query and a key that are visible
//   of_dense     time / (density · time of exact attention): 1 where a visible pair costs what it costs there
//   selection    share of the time that choosing takes, timed alone; 0 for patterns and given lists
//   of_peak      (2·(D + Dv)·visible pairs + flops of the selection) / FMA peak / time
//   of_stream    (bytes of the rows of K and V that a K/V head's queries read, each once, + bytes that the selection reads)
//                / streaming bandwidth / time
//   of_roof      the larger of these two
//   gflops, gbytes   the same work per second
//   recall, scanned, build_seconds   of an index: share of the best keys that is found, of the keys whose score is taken for
//                it, and how long one head's took to build
//
// Other implementations are given the same keys as a mask, and are checked against attenta.
#pragma once

namespace bench {

/// Makes the benchmarks of sparse_works() known to Google Benchmark.
void register_sparse();

}  // namespace bench
