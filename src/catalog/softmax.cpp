#include <attenta/softmax/merge_state.hpp>
#include <attenta/softmax/softmax.hpp>

#include <tuple>
#include <vector>

#include "softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> pair_rows(), position_rows(), relative_rows(), score_rows();

void take_arrays(Arguments& args, SoftmaxOptions& options) {
    options.alibi_slopes = args.optional_vector<float>("alibi_slopes");
    options.sink = args.optional_vector<float>("sink");
    options.segment_q = args.optional_vector<std::int64_t>("segment_q");
    options.segment_k = args.optional_vector<std::int64_t>("segment_k");
    options.mask = args.optional_matrices<bool>("mask");
    options.bias = args.optional_matrices<float>("bias");
}

}  // namespace rows

namespace {

void softmax(Arguments& args, Context& context) {
    const auto q = args.heads("q");
    const KvView kv = args.kv("k", "v");
    auto options = args.options<SoftmaxOptions>();
    rows::take_arrays(args, options);
    const auto o = args.output("o", q.heads, q.tokens, kv.v.dim);
    softmax_attention(q, kv, o, options, args.output<float>("lse", {q.heads, q.tokens}), context);
}

void merge(Arguments& args, Context& context) {
    const auto lse = args.array<float>("lse", {any_size, any_size, any_size});
    const auto [parts, heads, tokens] = std::tuple(lse.shape[0], lse.shape[1], lse.shape[2]);
    const auto o = args.array<float>("o", {parts, heads, tokens, any_size});
    const std::int64_t dim = o.shape[3];
    float* merged = args.output<float>("o", {heads, tokens, dim});
    merge_state(o.data, lse.data, parts, heads, tokens, dim, merged, args.output<float>("lse", {heads, tokens}),
                context);
}

}  // namespace

std::span<const Mechanism> softmax_rows() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list = {
            {.name = "softmax",
             .family = "softmax",
             .summary = "exact softmax attention: grouped heads, causal, window, soft-cap, ALiBi, bias, masks, sinks",
             .source = "Vaswani et al. 2017; Shazeer 2019; Press et al. 2022",
             .cost = "time Hq Tq Tk (D + Dv), memory one tile per thread",
             .inputs = "q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv], (bias [1 or Hq, 1 or Tq, at most Tk], "
                       "mask [1 or Hq, 1 or Tq, at most Tk] BOOL, "
                       "alibi_slopes [Hq], sink [Hq], segment_q [Tq] I64, segment_k [Tk] I64)",
             .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]",
             .parameters = parameters_of<SoftmaxOptions>,
             .call = softmax},
            {.name = "merge_state",
             .family = "softmax",
             .summary = "merges attention over disjoint sets of keys",
             .source = "Dao et al. 2023 (FlashDecoding); Feng et al. 2024",
             .cost = "time P Hq Tq Dv, no memory",
             .inputs = "o [P, Hq, Tq, Dv], lse [P, Hq, Tq]",
             .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]",
             .parameters = no_parameters,
             .call = merge},
        };
        for (const auto& part : {rows::position_rows(), rows::relative_rows(), rows::score_rows(), rows::pair_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
