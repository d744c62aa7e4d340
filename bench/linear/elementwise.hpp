// The benchmarks of recurrences that have a number or a few per channel, on a prompt of 4096 tokens of 2048 channels:
//
//   linear/attenta/<id>/prefill/H:1/D:2048/T:4096/threads:1
//       of_exp      time of the exponentials that the definition needs, as a row's softmax takes them, / this time
//       of_stream   time of reading inputs and writing outputs / this time
//       of_limit    the larger one: whichever binds
//
// ggml's scan beside mamba. A softmax of numbers that come one by one needs an exponential for each of its maxima.
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_elementwise();

}  // namespace bench
