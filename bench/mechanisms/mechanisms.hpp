// The benchmarks of mechanisms around softmax attention, by their rows of the catalog:
//
//   <family>/attenta/<id>/<prefill|decode>/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1
//       softmax_ratio   time of exact softmax attention of these heads, queries and keys, causal where the mechanism is / this
//                       time, turn by turn
//
// A row is called as `attenta run` calls it, on random tensors and without optional outputs, so each time has that of taking its
// outputs' memory.
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_mechanisms();

}  // namespace bench
