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

/// sweep/...: the benchmarks of sweep_cases(), the same measurement under another name.
void register_sweep();

/// phases/...: where the time of phase_cases() goes. Counters, for each phase of attenta/core/phases.hpp: its share of
/// the time, and `<phase>_of_roof`, its least possible time (phases.cpp) over what it took.
void register_phases();

/// overhead/softmax_attention and overhead/plan_run: a call with one query and one key.
void register_overhead();

}  // namespace bench
