// The benchmarks of what a KV cache keeps and how it stores it:
//
//   kv/attenta/<policy>/decode/Hq:32/Hkv:8/D:128/kept:4096/threads:1
//       overhead         time of a decode step under the policy / of one without, at as many tokens; three layers in turn
//   kv/attenta/evict_one/Hkv:8/D:128/kept:4096/threads:1
//       choosing the lowest of given scores, evicting it and appending a token, in each K/V head
//   kv/attenta/snapkv/prompt/Hq:4/Hkv:1/D:128/Tk:32768/kept:4096/threads:1
//       of_prefill       time of storing and compressing the prompt / time of its attention
//   kv/attenta/quant/<storage>/<decode|prefill>/Hq:/Hkv:/D:/Tq:/Tk:32768/threads:1
//       f32_ratio        time of KvCache::attend on a cache in f32 / this time
//       bytes_per_token  of K and V of all heads
//   kv/<ggml|onnxruntime>/quant/<storage>/...   the same of their caches; f32_ratio is to ours in f32
//
// Sampled as in attend.hpp; what a ratio compares runs turn by turn in the same process.
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_kv();

}  // namespace bench
