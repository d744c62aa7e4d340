// The attention benchmarks. A benchmark runs its work for 0.3 s and at least five times, each time on the next copy of
// its tensors, between two measurements of the machine's limits. Its time is the median. Counters, of that median:
//
//   gflops, gbytes   what the definition needs, per second
//   of_peak          of the FMA peak of the instruction set that runs (ATTENTA_ISA)
//   of_stream        of the streaming bandwidth
//   of_roof          of the least possible time, max(bytes / bandwidth, flops / peak); of warm data, flops / peak
#pragma once

namespace bench {

/// Makes the benchmarks of attend_cases() known to Google Benchmark.
void register_attend();

/// overhead/softmax_attention and overhead/plan_run: a call with one query and one key.
void register_overhead();

}  // namespace bench
