// The benchmarks of latent attention:
//
//   latent/attenta/mla/absorbed/decode/bf16/Hq:128/R:512/Dr:64/Dn:128/Dv:128/Tq:1/Tk:8192/threads:1
//       of_peak, of_stream, of_roof   by the operations and the bytes of the form, projections included
//       bytes_per_token               of a cache
//       other_form_ratio              time of the other form / this time, for prefill
//   latent/ggml/mla/absorbed/decode/f32/...   its attention alone, without the projections
//   latent/attenta/grouped_tied/decode/f32/Hq:32/Hkv:8/D:128/Dr:64/Tq:1/Tk:32768/threads:1
//       softmax_ratio                 time of softmax attention with keys and values of their own / this time
//
// Layers take turns in a decode step, so that latents and weights come from memory as they do in a model.
#pragma once

namespace bench {

/// Makes them known to Google Benchmark.
void register_latent();

}  // namespace bench
