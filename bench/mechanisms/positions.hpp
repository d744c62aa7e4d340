// The benchmarks of positions around softmax attention:
//
//   softmax/attenta/rope/<half|interleaved>/<prefill|decode>/...   queries and new keys rotated by a table, then attention
//   softmax/attenta/tree_mask/<prefill|decode>/...                 every query a node of a tree that is no chain
//       softmax_ratio   time of causal attention of these queries and keys, without positions / this time, turn by turn
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_positions();

}  // namespace bench
