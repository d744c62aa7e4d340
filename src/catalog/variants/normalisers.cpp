#include <attenta/variants.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

struct About {
    std::string_view name, summary, source, cost;
    std::string outputs = "o [Hq, Tq, Dv]", more_inputs = "";
};

/// A row of a mechanism that has inputs, outputs with o, and options.
template <auto function>
Mechanism variant_row(const About& about, void (*call)(Arguments&, Context&)) {
    using Inputs = typename SoftmaxFunction<function>::Inputs;
    using Options = typename SoftmaxFunction<function>::Options;
    std::string more = about.more_inputs;
    if (HasVisibleKeys<Options>) more.append(more.empty() ? "" : ", ").append(visible_inputs);
    return {.name = about.name,
            .family = "variants",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{}), more),
            .outputs = about.outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

/// `give` makes further outputs: give(args, inputs, out).
template <auto function, class Give>
void call_variant(Arguments& args, Context& context, Give&& give) {
    using Function = SoftmaxFunction<function>;
    const auto x = args.inputs<typename Function::Inputs>();
    const auto options = options_of<typename Function::Options>(args);
    typename Function::Outputs out{};
    out.o = args.output("o", x.q.heads, x.q.tokens, x.kv.v.dim);
    give(args, x, out);
    function(x, out, options, context);
}
template <auto function>
void call_weighted(Arguments& args, Context& context) {
    call_variant<function>(args, context, [](Arguments&, const auto&, auto&) {});
}

void call_sparsemax(Arguments& args, Context& context) {
    call_variant<&sparsemax>(args, context, [](Arguments& a, const SparsemaxInputs& x, SparsemaxOutputs& out) {
        out.tau = a.output<float>("tau", {x.q.heads, x.q.tokens});
    });
}
void call_entmax(Arguments& args, Context& context) {
    call_variant<&entmax>(args, context, [](Arguments& a, const EntmaxInputs& x, EntmaxOutputs& out) {
        out.weights = a.output("weights", x.q.heads, x.q.tokens, x.kv.length(0));
    });
}
void call_combined(Arguments& args, Context& context) {
    call_variant<&combined>(args, context, [](Arguments& a, const CombinedInputs& x, CombinedOutputs& out) {
        if (x.v_q.data) out.o_k = a.output("o_k", x.q.heads, x.kv.length(0), x.v_q.dim);
    });
}
void call_intra_temporal(Arguments& args, Context& context) {
    call_variant<&intra_temporal>(args, context,
                                  [](Arguments& a, const IntraTemporalInputs& x, IntraTemporalOutputs& out) {
                                      const std::int64_t heads = x.q.heads, keys = x.kv.length(0);
                                      out.state = {a.output<float>("state", {heads, keys}), 1, heads, keys};
                                  });
}
void call_hopfield(Arguments& args, Context& context) {
    call_variant<&hopfield>(args, context, [](Arguments& a, const HopfieldInputs& x, HopfieldOutputs& out) {
        out.lse = a.output<float>("lse", {x.q.heads, x.q.tokens});
        out.energy = a.output<float>("energy", {x.q.heads, x.q.tokens});
        out.state = a.output("state", x.q.heads, x.q.tokens, x.q.dim);
        out.steps = a.output<std::int64_t>("steps", {x.q.heads});
    });
}

void call_head_embedding(Arguments& args, Context& context) {
    const auto x = args.inputs<HeadEmbeddingInputs>();
    const auto options = options_of<HeadEmbeddingOptions>(args);
    const std::int64_t heads = x.e_q.rows;
    const auto o = args.output("o", heads, x.q.tokens, x.kv.v.dim);
    head_embedding(x, {o, args.output<float>("lse", {heads, x.q.tokens})}, options, context);
}

/// Of an attention whose values are slices of x_v.
template <auto function>
void call_sliced(Arguments& args, Context& context) {
    using Function = SoftmaxFunction<function>;
    auto x = args.inputs<typename Function::Inputs>();
    if constexpr (requires { x.w_a; }) {
        if (args.rank("w_a") == 3) {
            x.w_a = args.matrices<float>("w_a");
        } else {
            const auto w = args.array<float>("w_a", {any_size, any_size});
            x.w_a = {w.data, 1, w.shape[0], w.shape[1]};
        }
    }
    const auto options = options_of<typename Function::Options>(args);
    const std::int64_t heads = x.q.heads, tokens = x.q.tokens;
    if (heads < 1 || x.x_v.cols % heads != 0) args.refuse("x_v has columns that are no multiple of the heads of q");
    const auto o = args.output("o", heads, tokens, x.x_v.cols / heads);
    function(x, {o, args.output<float>("lse", {heads, tokens})}, options, context);
}

void call_mega(Arguments& args, Context& context) {
    const auto x = args.inputs<MegaInputs>();
    const auto bias = args.inputs<MegaBias>();
    const auto options = args.options<MegaOptions>();
    const std::int64_t tokens = x.x.rows, d = x.x.cols, s = x.gamma_qk.cols, e = x.w_v.cols;
    const auto output = [&](const char* name, std::int64_t columns) {
        return Matrices<float>{args.output<float>(name, {1, tokens, columns}), 1, tokens, columns};
    };
    MegaOutputs out{{args.output<float>("o", {tokens, d}), 1, tokens, d}};
    out.q = output("q", s);
    out.k = output("k", s);
    out.v = output("v", e);
    out.attended = output("attended", e);
    mega(x, bias, out, options, context);
}

std::vector<Mechanism> weight_rows() {
    return {
        variant_row<&sigmoid>({.name = "sigmoid",
                               .summary = "a logistic function of each score, without normalisation",
                               .source = "Ramapuram et al. 2024",
                               .cost = "as softmax"},
                              call_weighted<&sigmoid>),
        variant_row<&relu>({.name = "relu",
                            .summary = "positive scores or their squares, by length, by sum, or as they are",
                            .source = "Wortsman et al. 2023; Hua et al. 2022",
                            .cost = "as softmax"},
                           call_weighted<&relu>),
        variant_row<&sparsemax>({.name = "sparsemax",
                                 .summary = "scores projected onto the simplex: most weigh exactly 0",
                                 .source = "Martins and Astudillo 2016; Nguyen et al. 2022",
                                 .cost = "as softmax, and steps over the candidates of a row",
                                 .outputs = "o [Hq, Tq, Dv], tau [Hq, Tq]"},
                                call_sparsemax),
        variant_row<&entmax>({.name = "entmax",
                              .summary = "between softmax and sparsemax, with an alpha or one for each head",
                              .source = "Peters et al. 2019; Correia et al. 2019",
                              .cost = "as softmax, and steps over the candidates of a row",
                              .outputs = "o [Hq, Tq, Dv], (weights [Hq, Tq, Tk])"},
                             call_entmax),
        variant_row<&normalized>(
            {.name = "normalized",
             .summary = "rows of scores with mean 0 and variance 1, a gain and a bias of each head",
             .source = "Richter and Wattenhofer 2020",
             .cost = "as softmax"},
            call_weighted<&normalized>),
        variant_row<&combined>({.name = "combined",
                                .summary = "tanh of products, gated by distances, in one or both directions",
                                .source = "Li, Liang and Zhang 2024, Comateformer",
                                .cost = "as softmax, and Dn subtractions a pair",
                                .outputs = "o [Hq, Tq, Dv], o_k [Hq, Tk, Dq]"},
                               call_combined),
        variant_row<&mega_attention>({.name = "mega_attention",
                                      .summary = "softmax, Laplace or relu² attention with relative bias, in chunks",
                                      .source = "Ma et al. 2022, eq. 8-11",
                                      .cost = "time Hq Tq chunk (S + E)",
                                      .outputs = "o [Hq, Tq, E]"},
                                     call_weighted<&mega_attention>),
        {.name = "mega",
         .family = "variants",
         .summary = "a Mega layer: damped average, gated attention, gated residual",
         .source = "Ma et al. 2022, eq. 7-14",
         .cost = "time T D N, the attention's, and T D (2 D + S + 3 E)",
         .inputs = text_of(InputList(MegaInputs{}), "rel_bias [Nb], bias_q [S], bias_k [S]"),
         .outputs = "o [T, D], q [1, T, S], k [1, T, S], v [1, T, E], attended [1, T, E]",
         .parameters = parameters_of<MegaOptions>,
         .call = call_mega},
    };
}

std::vector<Mechanism> memory_rows() {
    return {
        variant_row<&hopfield>({.name = "hopfield",
                                .summary = "retrieval from a modern Hopfield network, with its energy",
                                .source = "Ramsauer et al. 2020; Yeung et al. 2024",
                                .cost = "time (steps + 1) Hq Tq Tk D",
                                .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], state [Hq, Tq, D], steps [Hq] I64, "
                                           "energy [Hq, Tq]"},
                               call_hopfield),
        variant_row<&intra_decoder>({.name = "intra_decoder",
                                     .summary = "softmax attention of a decoder over strictly earlier positions",
                                     .source = "Paulus et al. 2017, eq. 6-8",
                                     .cost = "as softmax"},
                                    call_weighted<&intra_decoder>),
        variant_row<&intra_temporal>({.name = "intra_temporal",
                                      .summary = "keys that earlier steps have attended to count less",
                                      .source = "Paulus et al. 2017, eq. 1-5",
                                      .cost = "as softmax; state Hq Tk",
                                      .outputs = "o [Hq, Tq, Dv], state [Hq, Tk]"},
                                     call_intra_temporal),
    };
}

std::vector<Mechanism> projection_rows() {
    const std::string outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]";
    return {
        variant_row<&head_embedding>(
            {.name = "head_embedding",
             .summary = "one query, key and value for all heads, and an embedding of each head",
             .source = "Xue and Aletras 2023",
             .cost = "as softmax with one head of K and V",
             .outputs = "o [H, Tq, Dv], lse [H, Tq]"},
            call_head_embedding),
        variant_row<&optimised>({.name = "optimised",
                                 .summary = "values are slices of the raw input",
                                 .source = "Hosseini and Hosseini 2024",
                                 .cost = "as softmax",
                                 .outputs = outputs},
                                call_sliced<&optimised>),
        variant_row<&efficient_projection>({.name = "efficient_projection",
                                            .summary = "keys and values are slices of the raw inputs",
                                            .source = "Hosseini and Hosseini 2024",
                                            .cost = "as softmax",
                                            .outputs = outputs},
                                           call_sliced<&efficient_projection>),
        variant_row<&super_attention>({.name = "super_attention",
                                       .summary = "values are slices that a matrix mixes along the sequence",
                                       .source = "Hosseini and Hosseini 2024",
                                       .cost = "as softmax, and Tk Tk Hq Dv",
                                       .outputs = outputs,
                                       .more_inputs = "w_a [S, S] or [Hq, S, S]"},
                                      call_sliced<&super_attention>),
    };
}

}  // namespace

std::vector<Mechanism> variant_normaliser_rows() {
    std::vector<Mechanism> all = weight_rows();
    for (const auto& part : {memory_rows(), projection_rows()}) all.insert(all.end(), part.begin(), part.end());
    return all;
}

}  // namespace rows

ATTENTA_END
