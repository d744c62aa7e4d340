// Linear attention by features of queries and keys, and what pools without a state.
#include <attenta/linear.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "../linear_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

/// Rows of `width` numbers for each head: one for each pair of D channels in any order, from those of a <= b behind the first
/// `before`, times `factor`.
std::vector<float> unfold_pairs(const std::vector<float>& folded, std::int64_t heads, std::int64_t before,
                                std::int64_t D, std::int64_t width, float factor) {
    std::vector<float> all;
    const std::int64_t rows = before + D * (D + 1) / 2;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t a = 0; a < D; ++a)
            for (std::int64_t b = 0; b < D; ++b) {
                const std::int64_t low = std::min(a, b), high = std::max(a, b),
                                   row = before + low * D - low * (low - 1) / 2 + high - low;
                for (std::int64_t i = 0; i < width; ++i)
                    all.push_back(factor * folded[static_cast<std::size_t>((h * rows + row) * width + i)]);
            }
    return all;
}

/// Rows begin .. end - 1 of each head's `rows`.
std::vector<float> some_rows(const std::vector<float>& x, std::int64_t heads, std::int64_t rows, std::int64_t begin,
                             std::int64_t end, std::int64_t width) {
    std::vector<float> some;
    for (std::int64_t h = 0; h < heads; ++h)
        some.insert(some.end(), x.begin() + (h * rows + begin) * width, x.begin() + (h * rows + end) * width);
    return some;
}

/// [1, x, (x ⊗ x)/√2] of `width` columns from [1, x, x_a x_b for a <= b], and back.
std::vector<float> interchange(const std::vector<float>& folded, std::int64_t heads, std::int64_t D,
                               std::int64_t width) {
    const std::vector<float> pairs = unfold_pairs(folded, heads, 1 + D, D, width, std::sqrt(0.5f));
    std::vector<float> all;
    const std::int64_t rows = 1 + D + D * (D + 1) / 2;
    for (std::int64_t h = 0; h < heads; ++h) {
        all.insert(all.end(), folded.begin() + h * rows * width, folded.begin() + (h * rows + 1 + D) * width);
        all.insert(all.end(), pairs.begin() + h * D * D * width, pairs.begin() + (h + 1) * D * D * width);
    }
    return all;
}
std::vector<float> fold(const std::vector<float>& all, std::int64_t heads, std::int64_t D, std::int64_t width) {
    std::vector<float> folded;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t row = 0; row < 1 + D + D * D; ++row) {
            const std::int64_t pair = row - 1 - D;
            if (pair >= 0 && pair % D < pair / D) continue;
            const auto from = all.begin() + (h * (1 + D + D * D) + row) * width;
            for (std::int64_t i = 0; i < width; ++i) folded.push_back(from[i] * (pair < 0 ? 1.f : std::sqrt(2.f)));
        }
    return folded;
}

void call_based(Arguments& args, Context& context) {
    const auto x = args.inputs<BasedInputs>();
    const auto options = args.options<BasedOptions>();
    const std::int64_t D = x.q.dim, F = 1 + D + D * D;
    const LinearState given = state_of(args);
    LinearState state;
    if (!given.empty()) {
        if (given.dim != F)
            args.refuse("input 'state' has " + std::to_string(given.dim) + " features, expected " + std::to_string(F));
        state = LinearState(given.heads, 1 + D + D * (D + 1) / 2, given.dim_v);
        state.matrix = fold(given.matrix, given.heads, D, given.dim_v);
        state.normalizer = fold(companion(args, "state_z", given, {given.heads, F}), given.heads, D, 1);
    }
    based(x, output_of(args, x), state, options, context);
    give(args, "state", interchange(state.matrix, state.heads, D, state.dim_v), {state.heads, F, state.dim_v});
    give(args, "state_z", interchange(state.normalizer, state.heads, D, 1), {state.heads, F});
}

void call_efficient(Arguments& args, Context& context) {
    const auto x = args.inputs<EfficientInputs>();
    const auto options = args.options<EfficientOptions>();
    const bool softmax = options.normalization == EfficientNormalization::softmax;
    LinearState state = past_of(args, softmax ? "initial_log_sum" : "", "initial_count");
    efficient(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "count", state.weight, {state.heads});
    if (softmax) give(args, "log_sum", state.normalizer, {state.heads, state.dim});
}

void call_fastmax(Arguments& args, Context& context) {
    const auto x = args.inputs<FastmaxInputs>();
    auto options = args.options<FastmaxOptions>();
    LinearState s = past_of(args, "initial_norm_state");
    const auto o = output_of(args, x);
    options.norm = args.output<float>("norm", {o.heads, o.tokens});
    fastmax(x, o, s, options, context);
    const std::int64_t D = x.k.dim;
    give_state(args, s);
    give(args, "norm_state", s.normalizer, {s.heads, s.dim});
    give(args, "value_moment0", some_rows(s.matrix, s.heads, s.dim, 0, 1, s.dim_v), {s.heads, s.dim_v});
    give(args, "value_moment1", some_rows(s.matrix, s.heads, s.dim, 1, 1 + D, s.dim_v), {s.heads, D, s.dim_v});
    give(args, "key_moment1", some_rows(s.normalizer, s.heads, s.dim, 1, 1 + D, 1), {s.heads, D});
    if (options.degree < 2) return;
    give(args, "value_moment2", unfold_pairs(s.matrix, s.heads, 1 + D, D, s.dim_v, 1), {s.heads, D, D, s.dim_v});
    give(args, "key_moment2", unfold_pairs(s.normalizer, s.heads, 1 + D, D, 1, 1), {s.heads, D, D});
}

void call_injective(Arguments& args, Context& context) {
    const auto x = args.inputs<InjectiveInputs>();
    const auto options = args.options<InjectiveOptions>();
    LinearState state = past_of(args, "initial_norm_state");
    injective(x, output_of(args, x), state, options, context);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
}

void call_log_normal(Arguments& args, Context& context) {
    const auto x = args.inputs<LogNormalInputs>();
    const auto options = args.options<LogNormalOptions>();
    LinearState state = past_of(args, "initial_norm_state");
    // A state was summed with the key_max that comes with it.
    if (!state.empty()) state.key_max.assign(x.key_max.begin(), x.key_max.end());
    const auto o = output_of(args, x);
    log_normal(x, o, state, options, context);
    const LogNormalGains gains = log_normal_gains(x.q, x.k, options);
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    give(args, "key_max", state.key_max, {state.heads});
    give(args, "alpha", {gains.alpha}, {1});
    give(args, "beta", {gains.beta}, {1});
}

/// Halves x and y of the features of each head become (x + y)/√2 and (x − y)/√2: those of the angles a from those of π/4 − a,
/// and back.
void turn_halves(std::vector<float>& x, std::int64_t heads) {
    const auto size = static_cast<std::int64_t>(x.size()), half = heads > 0 ? size / (2 * heads) : 0;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 2 * h * half; i < (2 * h + 1) * half; ++i) {
            float &a = x[static_cast<std::size_t>(i)], &b = x[static_cast<std::size_t>(i + half)];
            const float sum = (a + b) * std::sqrt(0.5f), difference = (a - b) * std::sqrt(0.5f);
            a = sum;
            b = difference;
        }
}

void call_norm_aware(Arguments& args, Context& context) {
    const auto x = args.inputs<NormAwareInputs>();
    const auto options = args.options<NormAwareOptions>();
    LinearState state = past_of(args, "initial_norm_state", "initial_count");
    const auto turn = [&] {
        if (options.feature != NormAwareFeature::cosine) return;
        turn_halves(state.matrix, state.heads);
        turn_halves(state.normalizer, state.heads);
    };
    turn();
    norm_aware(x, output_of(args, x), state, options, context);
    turn();
    give_state(args, state);
    give(args, "norm_state", state.normalizer, {state.heads, state.dim});
    give(args, "count", state.weight, {state.heads});
}

void call_additive_linear(Arguments& args, Context& context) {
    const auto x = args.inputs<AdditiveLinearInputs>();
    const auto options = args.options<AdditiveLinearOptions>();
    const Heads<const float>&q = x.q, &k = x.k;
    AdditiveLinearOutputs out{.o = args.output("o", k.heads, k.tokens, k.dim),
                              .global_q = args.output<float>("global_q", {q.heads, q.dim}),
                              .query_weights = args.output<float>("query_weights", {q.heads, q.tokens})};
    if (options.mode == AdditiveMode::fastformer) {
        out.global_k = args.output<float>("global_k", {k.heads, k.dim});
        out.key_weights = args.output<float>("key_weights", {k.heads, k.tokens});
    }
    additive_linear(x, out, options, context);
}

/// Inputs as cases have them: filters [3, 3] of each channel.
Mechanism with_filters(Mechanism m) {
    const std::string_view taps = "[Hq, Taps, Dv]";
    m.inputs.replace(m.inputs.find(taps), taps.size(), "[Hq, Dv, 3, 3]");
    return m;
}

}  // namespace

std::vector<Mechanism> feature_rows() {
    return {
        linear_row<&based>({.name = "based",
                            .summary = "the exponential's Taylor polynomial of the second degree as features",
                            .source = "Arora et al. 2024",
                            .cost = "time Ho T F Dv, state Hs F (Dv + 1), F = 1 + D + D (D + 1)/2",
                            .more_inputs = "state [Hs, 1 + D + D², Dv], state_z [Hs, 1 + D + D²]",
                            .more_outputs = ", state_z [Hs, F], F = 1 + D + D² in both"},
                           call_based),
        linear_row<&fastmax>(
            {.name = "fastmax",
             .summary = "weights that are a polynomial of normalised queries and keys",
             .source = "Gerami et al. 2024",
             .cost = "time (Hq Tq + Hkv Tk) F Dv, state Hkv F (Dv + 1), F = 1 + D + D (D + 1)/2",
             .more_inputs = "initial_state [Hkv, F, Dv], initial_norm_state [Hkv, F]",
             .more_outputs =
                 ", norm_state [Hkv, F], norm [Hq, Tq], value_moment0 [Hkv, Dv], value_moment1 [Hkv, D, Dv], "
                 "key_moment1 [Hkv, D], value_moment2 [Hkv, D, D, Dv] and key_moment2 [Hkv, D, D] with degree 2"},
            call_fastmax),
        linear_row<&efficient>(
            {.name = "efficient",
             .summary = "queries normalised over features, keys over tokens; not causal",
             .source = "Shen et al. 2021",
             .cost = "time (Hq Tq + Hkv Tk) D Dv, state Hkv D (Dv + 1)",
             .more_inputs = "initial_state [Hkv, D, Dv], initial_count [Hkv], initial_log_sum [Hkv, D]",
             .more_outputs = ", count [Hkv], log_sum [Hkv, D] with softmax"},
            call_efficient),
        with_filters(linear_row<&injective>(
            {.name = "injective",
             .summary = "weights normalised by subtraction, and a 3×3 convolution of the values; not causal (InLine)",
             .source = "Han et al. 2024",
             .cost = "time (Hq Tq + Hkv Tk) D Dv, state Hkv F (Dv + 1), F = D + 1",
             .more_inputs = "initial_state [Hkv, F, Dv], initial_norm_state [Hkv, F]",
             .more_outputs = ", norm_state [Hkv, F]"},
            call_injective)),
        linear_row<&log_normal>(
            {.name = "log_normal",
             .summary = "exponential features with gains that match softmax's spread, and softmax within blocks",
             .source = "Nahshan et al. 2024",
             .cost = "time (Hq Tq + Hkv Tk) D Dv + Hq Tq block (D + Dv), state Hkv D (Dv + 1)",
             .more_inputs = "initial_state [Hkv, D, Dv], initial_norm_state [Hkv, D]",
             .more_outputs = ", norm_state [Hkv, D], key_max [Hkv], alpha [1], beta [1]"},
            call_log_normal),
        linear_row<&norm_aware>(
            {.name = "norm_aware",
             .summary = "features whose exponent is the query's length, signs kept apart (NaLaFormer)",
             .source = "Meng et al. 2025",
             .cost = "time (Hq Tq + Hkv Tk) F Dv, state Hkv F (Dv + 1), F = 2 D",
             .more_inputs = "initial_state [Hkv, F, Dv], initial_norm_state [Hkv, F], initial_count [Hkv]",
             .more_outputs = ", norm_state [Hkv, F], count [Hkv]"},
            call_norm_aware),
        {.name = "additive_linear",
         .family = "linear",
         .summary =
             "tokens pooled by a score and multiplied element by element; not causal, no state (LadaGAN, Fastformer)",
         .source = "Morales-Juarez and Fuentes-Pineda 2024; Wu et al. 2021",
         .cost = "time H T H D for each pooling, T (H D)² for the transform",
         .inputs = text_of(InputList(AdditiveLinearInputs{}), ""),
         .outputs = "o [H, Tk, D], global_q [H, D], query_weights [H, Tq], global_k [H, D] and key_weights [H, Tk] of "
                    "fastformer",
         .parameters = parameters_of<AdditiveLinearOptions>,
         .call = call_additive_linear},
    };
}

}  // namespace rows

ATTENTA_END
