// The benchmarks of linear attention: all mechanisms on a prompt and token by token, with float32 tensors
// [token, head, dim], beside the recurrences of onnxruntime and ggml that compute the same. Before they are timed, all
// others are compared with the library. Sampled as in attend.hpp; counters:
//
//   gflops         4·T·H·D·Dv per second: what the recurrent form needs to add a token to the state and to read it.
//                  Gates, feature maps and the delta rules' third product are not counted, nor is what chunks add.
//   of_peak        of the FMA peak of the instruction set that runs
//   softmax_ratio  prefill: time of the exact causal softmax attention of the same H, D, T / this time
//   of_pass        decode: time of a pass that reads, scales and writes the same states once / this time
//   gbytes         decode: bytes of the state read and written, per second
//   ns_per_token   growth: of all heads; constant where the cost is linear
//
// A prefill goes on with the state that the one before it left, as with an empty one. A decode step takes the state of
// the next of many layers, at least 32 and more than four times the last-level cache, with /warm always the same.
#pragma once

namespace bench {

/// Makes the benchmarks of linear_cases() and growth_cases() known to Google Benchmark.
void register_linear();

}  // namespace bench
