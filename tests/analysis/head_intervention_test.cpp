// Interventions equal their definitions in every mode, on all rows and on the last; own errors.
#include <attenta/analysis/head_intervention.hpp>

#include "analysis/support/attention.hpp"

namespace attenta_test {
namespace {

using analysis::HeadInterventionInputs, analysis::HeadInterventionOptions, analysis::InterventionMode,
    analysis::InterventionRows;
constexpr auto call = &analysis::head_intervention;

Values definition(const HeadInterventionInputs& x, const NaiveCache& cache, const HeadInterventionOptions& o) {
    Values want;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            NaiveRow row = naive_row(x.q, cache.k, h, i, o.causal, o.scale);
            const bool changed = o.positions == InterventionRows::all || i == x.q.tokens - 1;
            const bool off = !x.head_mask.empty() && x.head_mask[static_cast<std::size_t>(h)] == 0;
            if (changed && off && *o.mode == InterventionMode::uniform)
                std::fill(row.weights.begin(), row.weights.end(), 1 / static_cast<double>(row.weights.size()));
            std::vector<double> out;
            append_output(out, row.weights, cache.v, h, x.q.heads);
            for (std::size_t c = 0; c < out.size() && changed; ++c) {
                const auto bias = [&] { return double{x.bias.row(0, h)[c]}; };
                if (*o.mode == InterventionMode::mask) out[c] *= double{x.head_mask[static_cast<std::size_t>(h)]};
                if (*o.mode == InterventionMode::affine) out[c] = (1 + double{x.gain.row(0, h)[c]}) * out[c] + bias();
                if (*o.mode == InterventionMode::replace && off) out[c] = bias();
                if (*o.mode == InterventionMode::shift) {
                    const double z =
                        dot(x.q.row(h, i), x.gate_w.row(0, h), x.q.dim) + double{x.gate_b[static_cast<std::size_t>(h)]};
                    out[c] += bias() / (1 + std::exp(row.lse - z));
                }
            }
            want["o"].insert(want["o"].end(), out.begin(), out.end());
            want["lse"].push_back(row.lse);
        }
    return want;
}

struct Drawn {
    NaiveCache cache;
    HeadInterventionInputs x;
};

Drawn draw(Memory& memory, const AttentionShape& s, InterventionMode mode) {
    Drawn d{draw_cache(memory, s.heads, s.keys, s.dim, s.dim_v), {}};
    const std::int64_t heads = s.query_heads;
    const auto matrix = [&](std::int64_t cols) {
        return attenta::Matrices<const float>{memory.normals<2>({heads, cols}).data, 1, heads, cols};
    };
    d.x.q = memory.heads(heads, s.queries, s.dim);
    d.x.kv = d.cache.view();
    using Mode = InterventionMode;
    if (mode == Mode::mask || mode == Mode::uniform || mode == Mode::replace) {
        std::vector<float> mask;
        for (std::int64_t h = 0; h < heads; ++h) mask.push_back(h % 2 == 0 ? 0.f : 0.35f * static_cast<float>(h));
        d.x.head_mask = memory.vector(mask);
    }
    if (mode == Mode::affine) d.x.gain = matrix(s.dim_v);
    if (mode != Mode::mask && mode != Mode::uniform) d.x.bias = matrix(s.dim_v);
    if (mode == Mode::shift) {
        d.x.gate_w = matrix(s.dim);
        d.x.gate_b = memory.vector(memory.random.normals(heads));
    }
    return d;
}

TEST(HeadIntervention, EqualsItsDefinition) {
    Memory memory;
    for (const AttentionShape& s : attention_shapes())
        for (int m = 0; m < 5; ++m)
            for (const bool causal : {false, true})
                for (const InterventionRows positions : {InterventionRows::all, InterventionRows::last}) {
                    const auto mode = static_cast<InterventionMode>(m);
                    const Drawn d = draw(memory, s, mode);
                    const HeadInterventionOptions o{mode, positions, causal,
                                                    causal ? std::optional(0.4f) : std::nullopt};
                    SCOPED_TRACE(names_of(mode)[static_cast<std::size_t>(m)]);
                    expect_values<call>(d.x, o, definition(d.x, d.cache, o));
                }
}

TEST(HeadInterventionErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const AttentionShape shape{4, 2, 3, 9, 6, 5};
    const auto refused = [&](InterventionMode mode, auto change, std::initializer_list<std::string_view> words) {
        const Drawn d = draw(memory, shape, mode);
        return refuses_inputs<call>(d.x, {mode}, change, words);
    };
    using Mode = InterventionMode;
    EXPECT_TRUE(refused(Mode::mask, [](auto& in) { in.head_mask = {}; }, {"head_intervention", "head_mask", "mask"}));
    EXPECT_TRUE(refused(Mode::uniform, [](auto& in) { in.head_mask = {}; }, {"head_mask", "uniform"}));
    EXPECT_TRUE(refused(Mode::affine, [](auto& in) { in.gain = {}; }, {"gain", "affine"}));
    EXPECT_TRUE(refused(Mode::replace, [](auto& in) { in.bias = {}; }, {"bias", "replace"}));
    EXPECT_TRUE(refused(Mode::shift, [](auto& in) { in.gate_w = {}; }, {"gate_w", "shift"}));
    EXPECT_TRUE(refused(Mode::shift, [](auto& in) { in.gate_b = {}; }, {"gate_b", "shift"}));
    EXPECT_TRUE(refused(Mode::mask, [](auto& in) { in.head_mask = in.head_mask.first(3); }, {"head_mask", "3", "4"}));
    EXPECT_TRUE(refused(Mode::affine, [](auto& in) { in.gain.cols = 4; }, {"gain", "4", "5"}));
    EXPECT_TRUE(refused(Mode::shift, [](auto& in) { in.bias.rows = 2; }, {"bias", "2", "4"}));
    EXPECT_TRUE(
        refuses_options<call>(draw(memory, shape, Mode::mask).x, {Mode::mask}, [](auto& o) { o.mode = {}; }, {"mode"}));
}

}  // namespace
}  // namespace attenta_test
