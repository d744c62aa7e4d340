#include <attenta/variants/locations/luong_local.hpp>
#include <attenta/variants/locations/monotonic_location.hpp>
#include <attenta/variants/network/additive.hpp>
#include <attenta/variants/network/impatient.hpp>
#include <attenta/variants/network/luong_global.hpp>
#include <attenta/variants/network/neural.hpp>
#include <attenta/variants/network/sentinel.hpp>
#include <attenta/variants/network/variational.hpp>

#include <utility>
#include <vector>

#include "../softmax_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

/// A row of this family from the lists of an attention.
Mechanism variant(Mechanism m) {
    m.family = "variants";
    return m;
}

void call_additive(Arguments& args, Context& context) {
    const auto x = args.inputs<AdditiveInputs>();
    const auto options = options_of<AdditiveOptions>(args);
    AdditiveOutputs out;
    out.o = args.output("o", x.q.heads, x.q.tokens, x.kv.v.dim);
    out.lse = args.output<float>("lse", {x.q.heads, x.q.tokens});
    if (options.mode != AlignmentMode::soft) out.index = args.output<std::int64_t>("index", {x.q.heads, x.q.tokens});
    if (!x.w_beta.empty()) out.beta = args.output<float>("beta", {x.q.heads, x.q.tokens});
    additive(x, out, options, context);
}

void call_luong_global(Arguments& args, Context& context) {
    call_softmax<&luong_global>(args, context, [](Arguments& to, const LuongGlobalInputs& x, LuongGlobalOutputs& out) {
        if (x.w_c) out.h = to.output("h", x.q.heads, x.q.tokens, x.w_c.rows);
    });
}

void call_luong_local(Arguments& args, Context& context) {
    const auto x = args.inputs<LuongLocalInputs>();
    const auto options = args.options<LuongLocalOptions>();
    LuongLocalOutputs out{args.output("o", x.q.heads, x.q.tokens, x.kv.v.dim)};
    out.position = args.output<float>("position", {x.q.heads, x.q.tokens});
    luong_local(x, out, options, context);
}

void call_sentinel(Arguments& args, Context& context) {
    call_softmax<&sentinel>(args, context, [](Arguments& to, const SentinelInputs& x, SentinelOutputs& out) {
        out.beta = to.output<float>("beta", {x.q.heads, x.q.tokens});
    });
}

void call_impatient(Arguments& args, Context& context) {
    const auto x = args.inputs<ImpatientInputs>();
    const auto options = args.options<ImpatientOptions>();
    ImpatientOutputs out{args.output("o", 1, x.q.tokens, x.v.dim)};
    out.weights = args.output<float>("weights", {1, x.q.tokens, x.k.tokens});
    out.state = args.output<float>("state", {x.v.dim});
    impatient(x, out, options, context);
}

void call_variational(Arguments& args, Context& context) {
    const auto x = args.inputs<VariationalInputs>();
    const auto options = args.options<VariationalOptions>();
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, outcomes = x.w_y.rows;
    VariationalOutputs out{args.output("o", heads, queries, x.v.dim), args.output("log_p", heads, queries, outcomes)};
    out.weights = args.output<float>("weights", {heads, queries, x.k.tokens});
    if (options.mode == VariationalMode::argmax) out.index = args.output<std::int64_t>("index", {heads, queries, 1});
    if (options.mode == VariationalMode::sample)
        out.index = args.output<std::int64_t>("index", {heads, queries, x.u.dim});
    if (x.posterior.data) {
        out.elbo = args.output("elbo", heads, queries, outcomes);
        out.kl = args.output<float>("kl", {heads, queries});
    }
    variational(x, out, options, context);
}

void call_monotonic_location(Arguments& args, Context& context) {
    const auto x = args.inputs<MonotonicLocationInputs>();
    const auto options = args.options<MonotonicLocationOptions>();
    const std::int64_t heads = x.q_position.heads, queries = x.q_position.tokens;
    MonotonicLocationOutputs out{args.output("o", heads, queries, x.v.dim)};
    out.centre = args.output<float>("centre", {heads, queries});
    out.state = args.output<float>("state", {heads});
    monotonic_location(x, out, options, context);
}

}  // namespace

std::vector<Mechanism> network_rows() {
    return {
        variant(softmax_row<&additive>({.name = "additive",
                                        .summary = "scores v·tanh(W q + W k), soft or of one key, with a gate",
                                        .source = "Hermann et al. 2015; Xu et al. 2015, Show, Attend and Tell",
                                        .cost = "time Hq Tq Tk (A + Dv), memory (Hq Tq + Hkv Tk) A",
                                        .more_outputs = ", index [Hq, Tq] I64, beta [Hq, Tq]"},
                                       call_additive)),
        variant(softmax_row<&neural>({.name = "neural",
                                      .summary = "scores of a ReLU network with two layers on query and key",
                                      .source = "DiGiugno, Mahmood 2025",
                                      .cost = "time Hq Tq Tk (N M + Dv), memory (Hq Tq + Hkv Tk) N"})),
        variant(softmax_row<&luong_global>({.name = "luong_global",
                                            .summary = "dot, general, concat or location scores, and a hidden state",
                                            .source = "Luong, Pham, Manning 2015, eq. 5-8",
                                            .cost = "time Hq Tq Tk (D + Dv); concat Hq Tq Tk (A + Dv)",
                                            .more_outputs = ", h [Hq, Tq, Dh]"},
                                           call_luong_global)),
        {.name = "luong_local",
         .family = "variants",
         .summary = "a window of keys around the query's own or a predicted position",
         .source = "Luong, Pham, Manning 2015, eq. 9-10",
         .cost = "time Hq Tq W (D + Dv) where positions move along with queries",
         .inputs = text_of(InputList(LuongLocalInputs{})),
         .outputs = "o [Hq, Tq, Dv], position [Hq, Tq]",
         .parameters = parameters_of<LuongLocalOptions>,
         .call = call_luong_local,
         .list = [] { return InputList(LuongLocalInputs{}).copy(); }},
        variant(
            softmax_row<&sentinel>({.name = "sentinel",
                                    .summary = "additive scores against a vector of the query's own as one more key",
                                    .source = "Lu et al. 2017, eq. 6-13",
                                    .cost = "time Hq Tq Tk (A + Dv), memory (Hq Tq + Hkv Tk) A",
                                    .more_outputs = ", beta [Hq, Tq]"},
                                   call_sentinel)),
        {.name = "impatient",
         .family = "variants",
         .summary = "additive attention that rereads the keys for every query and carries a summary",
         .source = "Hermann et al. 2015",
         .cost = "time Tq Tk (A + Dv), state Dv",
         .inputs = text_of(InputList(ImpatientInputs{})),
         .outputs = "o [1, Tq, Dv], (weights [1, Tq, Tk]), state [Dv]",
         .parameters = parameters_of<ImpatientOptions>,
         .call = call_impatient,
         .list = [] { return InputList(ImpatientInputs{}).copy(); }},
        {.name = "variational",
         .family = "variants",
         .summary = "weights as the prior of a hidden key: marginal, soft, argmax or drawn, with a bound",
         .source = "Deng et al. 2018",
         .cost = "time exact Hq Tq Tk Dh Y, memory (Hq Tq + Hkv Tk) Dh",
         .inputs = text_of(InputList(VariationalInputs{})),
         .outputs = "o [Hq, Tq, Dv], log_p [Hq, Tq, Y], (weights [Hq, Tq, Tk]), index [Hq, Tq, N] I64, "
                    "elbo [Hq, Tq, Y], kl [Hq, Tq]",
         .parameters = parameters_of<VariationalOptions>,
         .call = call_variational,
         .list = [] { return InputList(VariationalInputs{}).copy(); }},
        {.name = "monotonic_location",
         .family = "variants",
         .summary = "a Gaussian over places whose centre moves on from step to step, with content or without",
         .source = "Ray Chowdhury, Caragea 2023; Dubois et al. 2020",
         .cost = "time Hq Tq W Dv, state 1 per head",
         .inputs = text_of(InputList(MonotonicLocationInputs{})),
         .outputs = "o [Hq, Tq, Dv], centre [Hq, Tq], state [Hq]",
         .parameters = parameters_of<MonotonicLocationOptions>,
         .call = call_monotonic_location,
         .list = [] { return InputList(MonotonicLocationInputs{}).copy(); }},
    };
}

}  // namespace rows

ATTENTA_END
