#include <attenta/lowrank.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

void call_linformer(Arguments& args, Context& context) {
    const auto x = args.inputs<LinformerInputs>();
    const auto options = args.options<LinformerOptions>();
    linformer(x, args.output("o", x.q.heads, x.q.tokens, x.v.dim), options,
              args.output<float>("lse", {x.q.heads, x.q.tokens}), context);
}

void call_nystrom(Arguments& args, Context& context) {
    const auto x = args.inputs<NystromInputs>();
    const auto options = args.options<NystromOptions>();
    nystrom(x, args.output("o", x.q.heads, x.q.tokens, x.v.dim), options, context);
}

void call_soft(Arguments& args, Context& context) {
    const auto x = args.inputs<SoftInputs>();
    const auto options = args.options<SoftOptions>();
    soft(x, args.output("o", x.q.heads, x.q.tokens, x.v.dim), options, context);
}

void call_lama(Arguments& args, Context& context) {
    const auto x = args.inputs<LamaInputs>();
    const auto options = args.options<LamaOptions>();
    const std::int64_t heads = x.p_weight.rows;
    lama(x,
         {{args.output<float>("o", {heads, x.x.cols}), 1, heads, x.x.cols},
          args.output<float>("weights", {heads, x.x.rows})},
         options, context);
}

/// Whether the weights are factorised first, or were before.
enum class CloverMode : std::uint8_t { factorise, pruned };
constexpr std::array<std::string_view, 2> names_of(CloverMode) { return {"factorise", "pruned"}; }

struct CloverParameters {
    CloverMode mode = CloverMode::factorise;
    CloverRanks ranks;
    CloverOptions options;

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "factorise the weights first, or pruned: they are small already");
        CloverRanks::fields(visit, o.ranks);
        CloverOptions::fields(visit, o.options);
    }
};

void call_clover(Arguments& args, Context& context) {
    auto x = args.inputs<CloverInputs>();
    auto [mode, ranks, options] = args.options<CloverParameters>();
    args.refuse_unread();
    CloverWeights weights;
    if (mode == CloverMode::factorise) {
        weights = clover_factorise(x, ranks);
        if (!options.scale) options.scale = weights.scale;
        const auto give = [&](const char* name, const std::vector<double>& values) {
            const std::int64_t heads = x.wq.heads;
            float* const to = args.output<float>(name, {heads, std::ssize(values) / heads});
            std::transform(values.begin(), values.end(), to, [](double s) { return static_cast<float>(s); });
        };
        give("qk_singular", weights.qk_singular);
        give("vo_singular", weights.vo_singular);
        x = weights.on(x.x);
    } else if (ranks.rank_qk || ranks.rank_vo) {
        args.refuse("rank_qk or rank_vo is given, pruned weights have the ranks that they have");
    }
    clover(x, {args.output<float>("o", {x.x.rows, x.wo.tokens}), 1, x.x.rows, x.wo.tokens}, options, context);
}

struct KeysCase {
    LowRankKeysInputs x;
    Heads<const float> calibration;

    static void list(auto&& visit, auto& in) {
        LowRankKeysInputs::list(visit, in.x);
        visit("calibration", in.calibration, "[Hkv, Tc, D]");
    }
};

struct KeysParameters {
    KeyBasisOptions basis;
    LowRankKeysOptions options;

    static void fields(auto&& visit, auto& o) {
        KeyBasisOptions::fields(visit, o.basis);
        LowRankKeysOptions::fields(visit, o.options);
    }
};

void call_lowrank_keys(Arguments& args, Context& context) {
    auto [x, calibration] = args.inputs<KeysCase>();
    const auto [basis_options, options] = args.options<KeysParameters>();
    args.refuse_unread();
    const KeyBasis basis = key_basis(calibration, basis_options);
    x.basis = &basis;
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, dim = basis.dim;
    lowrank_keys(x,
                 {args.output("o", heads, queries, x.v.dim), args.output<float>("lse", {heads, queries}),
                  args.output<float>("scores", {heads, queries, x.k.tokens})},
                 options, context);
    const std::int64_t rank = options.rank ? *options.rank : basis.rank(*options.variance);
    args.output<std::int64_t>("rank", {1})[0] = rank;
    basis.projector(rank, args.output("projector", basis.heads, dim, dim), context);
    std::transform(basis.explained_variance_ratio.begin(), basis.explained_variance_ratio.end(),
                   args.output<float>("explained_variance_ratio", {basis.heads, dim}),
                   [](double share) { return static_cast<float>(share); });
}

struct LeanvecCase {
    LeanvecInputs x;
    Heads<const float> learn_q, learn_k;

    static void list(auto&& visit, auto& in) {
        visit("q", in.x.q, "[Hq, Tq, D]");
        visit("k", in.x.k, "[Hkv, Tk, D]");
        visit("learn_q", in.learn_q, "[Hkv, Tn, D]");
        visit("learn_k", in.learn_k, "[Hkv, Tm, D]");
    }
};

struct LeanvecParameters {
    LeanvecFitOptions fit;
    LeanvecOptions options;

    static void fields(auto&& visit, auto& o) {
        LeanvecFitOptions::fields(visit, o.fit);
        LeanvecOptions::fields(visit, o.options);
    }
};

void call_leanvec(Arguments& args, Context& context) {
    auto [x, learn_q, learn_k] = args.inputs<LeanvecCase>();
    const auto [fit_options, options] = args.options<LeanvecParameters>();
    args.refuse_unread();
    const Leanvec fit = leanvec_fit(learn_q, learn_k, fit_options);
    x.projections = &fit;
    const std::int64_t heads = x.q.heads, queries = x.q.tokens;
    leanvec(x,
            {args.output<std::int64_t>("indices", {heads, queries, options.top_k}),
             args.output<float>("rerank_scores", {heads, queries, options.top_k}),
             args.output<float>("scores", {heads, queries, x.k.tokens})},
            options, context);
    fit.product(args.output("product", fit.heads, fit.dim, fit.dim), context);
    std::transform(fit.loss.begin(), fit.loss.end(), args.output<float>("loss", {fit.heads}),
                   [](double loss) { return static_cast<float>(loss); });
    if (fit_options.method != LeanvecMethod::frank_wolfe) return;  // others are defined up to signs
    std::copy(fit.a.begin(), fit.a.end(), args.output<float>("a", {fit.heads, fit.dim, fit.rank}));
    std::copy(fit.b.begin(), fit.b.end(), args.output<float>("b", {fit.heads, fit.dim, fit.rank}));
}

/// What is written about a mechanism, in words.
struct LowRankAbout {
    std::string_view name, summary, source, cost;
    std::string outputs;
};

template <class Inputs, class Options>
Mechanism lowrank_row(const LowRankAbout& about, void (*call)(Arguments&, Context&)) {
    return {.name = about.name,
            .family = "lowrank",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = text_of(InputList(Inputs{})),
            .outputs = about.outputs,
            .parameters = parameters_of<Options>,
            .call = call,
            .list = [] { return InputList(Inputs{}).copy(); }};
}

}  // namespace

}  // namespace rows

std::span<const Mechanism> lowrank_rows() {
    using namespace rows;
    static const std::vector<Mechanism> all = {
        lowrank_row<CloverInputs, CloverParameters>(
            {.name = "clover",
             .summary = "weights of a head merged, decomposed and cut to their largest singular values",
             .source = "Meng et al. 2025, CLOVER",
             .cost = "T²·(rank_qk+rank_vo) per head; E·D² once to factorise",
             .outputs = "o [T, O], qk_singular [H, D], vo_singular [H, Dv]"},
            call_clover),
        lowrank_row<LamaInputs, LamaOptions>(
            {.name = "lama",
             .summary = "one vector per head, pooled by a rank-one form with a context",
             .source = "Mehta et al. 2019, LAMA, eq. 3.13",
             .cost = "T·Dx·H",
             .outputs = "o [H, Dx], weights [H, T]"},
            call_lama),
        lowrank_row<LeanvecCase, LeanvecParameters>(
            {.name = "leanvec",
             .summary = "keys searched in fewer dimensions that fit queries and keys, the best ranked again",
             .source = "Tepper et al. 2023, LeanVec",
             .cost = "T·r + candidates·D per query; D³ per step once to fit",
             .outputs =
                 "indices [Hq, Tq, top_k], rerank_scores [Hq, Tq, top_k], (scores [Hq, Tq, Tk]), product [Hkv, D, D], "
                 "loss [Hkv], a [Hkv, D, R], b [Hkv, D, R]"},
            call_leanvec),
        lowrank_row<LinformerInputs, LinformerOptions>(
            {.name = "linformer",
             .summary = "keys and values projected along the sequence to R slots",
             .source = "Wang et al. 2020, Linformer",
             .cost = "T·R·(D+Dv) time, R·(D+Dv) memory per head",
             .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq]"},
            call_linformer),
        lowrank_row<KeysCase, KeysParameters>(
            {.name = "lowrank_keys",
             .summary = "attention by the leading principal components of the keys",
             .source = "Singhania et al. 2024, Loki, sections 3-4",
             .cost = "T²·(r+Dv) time; N·D²+D³ once for the components",
             .outputs = "o [Hq, Tq, Dv], lse [Hq, Tq], (scores [Hq, Tq, Tk]), rank [1], projector [Hkv, D, D], "
                        "explained_variance_ratio [Hkv, D]"},
            call_lowrank_keys),
        lowrank_row<NystromInputs, NystromOptions>({.name = "nystrom",
                                                    .summary = "softmax attention through means of segments",
                                                    .source = "Xiong et al. 2021, Nyströmformer, eq. 13-15",
                                                    .cost = "T·m·(D+Dv) + m³ time, m·(D+Dv+m) memory per head",
                                                    .outputs = "o [Hq, Tq, Dv]"},
                                                   call_nystrom),
        lowrank_row<SoftInputs, SoftOptions>({.name = "soft",
                                              .summary = "a Gaussian kernel in place of softmax, through landmarks",
                                              .source = "Lu et al. 2021, SOFT; Lu et al. 2024, SOFT++",
                                              .cost = "T·m·(D+Dv) + m³ time, m·(D+Dv+m) memory per head",
                                              .outputs = "o [H, T, Dv]"},
                                             call_soft),
    };
    return all;
}

ATTENTA_END
