#include <attenta/softmax/scores/relational.hpp>

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "softmax/relative/naive_relative.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::RelationActivation, attenta::RelationalInputs, attenta::RelationalOptions, attenta::Symbols;

double activated(RelationActivation a, double x) {
    switch (a) {
        case RelationActivation::relu:
            return std::max(x, 0.0);
        case RelationActivation::sigmoid:
            return 1 / (1 + std::exp(-x));
        case RelationActivation::tanh:
            return std::tanh(x);
        case RelationActivation::gelu:
            return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
        case RelationActivation::silu:
            return x / (1 + std::exp(-x));
        default:
            return x;
    }
}

/// The symbol of head h for key j, d behind the query.
std::vector<double> symbol(const RelationalInputs& x, const RelationalOptions& o, std::int64_t h, std::int64_t j,
                           std::int64_t d) {
    const std::int64_t heads = x.q_attn.heads;
    if (o.symbols == Symbols::given) return row_of(x.symbols, h, heads, j);
    std::vector<double> row;
    const View& library = x.symbol_library;
    if (o.symbols == Symbols::position) row = wide(library.row(j, 0), library.dim);
    if (o.symbols == Symbols::relative) {
        const std::int64_t clip = library.heads / 2;
        row = wide(library.row(std::clamp(d, -clip, clip) + clip, 0), library.dim);
    }
    for (std::int64_t n = 0; o.symbols == Symbols::symbolic && n < library.heads; ++n) {
        std::vector<double> weights, mean(static_cast<std::size_t>(library.dim));
        double sum = 0;
        for (std::int64_t t = 0; t < library.tokens; ++t) {
            weights.push_back(std::exp(
                naive_scale(o.symbol_scale, x.symbol_q.dim) *
                naive_dot(wide(x.symbol_q.row(n, j), x.symbol_q.dim), wide(x.templates.row(n, t), x.templates.dim))));
            sum += weights.back();
        }
        for (std::int64_t t = 0; t < library.tokens; ++t)
            for (std::size_t c = 0; c < mean.size(); ++c)
                mean[c] += weights[static_cast<std::size_t>(t)] / sum * double{library.row(n, t)[c]};
        row.insert(row.end(), mean.begin(), mean.end());
    }
    std::vector<double> s(static_cast<std::size_t>(x.w_symbol.dim));
    for (std::size_t m = 0; m < row.size(); ++m) {
        const auto w = row_of(x.w_symbol, h, heads, static_cast<std::int64_t>(m));
        for (std::size_t c = 0; c < s.size(); ++c) s[c] += row[m] * w[c];
    }
    return s;
}

Naive definition(const RelationalInputs& x, const RelationalOptions& o) {
    const std::int64_t heads = x.q_attn.heads, queries = x.q_attn.tokens, keys = x.k_attn.tokens, dim = x.w_rel.tokens,
                       offset = o.visibility.q_offset.value_or(keys - queries);
    const Tensor<float> nothing(x.k_attn.heads, keys, dim);
    nothing.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, dim, 0.f); });
    const auto score = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return naive_scale(o.scale, x.q_attn.dim) *
               naive_dot(wide(x.q_attn.row(h, i), x.q_attn.dim), row_of(x.k_attn, h, heads, j));
    };
    Naive r = naive_relative(x.q_attn, x.k_attn, nothing.view(), o.visibility,
                             [&](auto h, auto i, auto j, auto) { return score(h, i, j); });
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t i = 0; i < queries; ++i)
            for (std::int64_t j = 0; j < keys; ++j) {
                if (!naive_sees(o.visibility, h, i, queries, j, keys)) continue;
                const double w = std::exp(score(h, i, j) - r.lse[static_cast<std::size_t>(h * queries + i)]);
                auto message = symbol(x, o, h, j, j - i - offset);
                for (std::int64_t l = 0; l < x.q_rel.heads; ++l) {
                    const double relation = activated(
                        o.rel_activation,
                        naive_scale(o.rel_scale, x.q_rel.dim) *
                            naive_dot(wide(x.q_rel.row(l, i), x.q_rel.dim), wide(x.k_rel.row(l, j), x.k_rel.dim)));
                    for (std::int64_t c = 0; c < dim; ++c)
                        message[static_cast<std::size_t>(c)] += double{x.w_rel.row(h, c)[l]} * relation;
                }
                for (std::int64_t c = 0; c < dim; ++c) r.o_row(h, i)[c] += w * message[static_cast<std::size_t>(c)];
            }
    return r;
}

template <Symbols symbols, RelationActivation activation>
void set(AttentionCase& c) {
    options_of<RelationalOptions>(c).symbols = symbols;
    options_of<RelationalOptions>(c).rel_activation = activation;
}

const auto& mechanism = test_attention<&attenta::relational, &definition>(
    {.name = "relational",
     .variants = {{"symbols of each head, relu",
                   [](AttentionCase& c) {
                       set<Symbols::given, RelationActivation::relu>(c);
                       c.sizes["Hs"] = c.shape.Hq;
                       options_of<RelationalOptions>(c).rel_scale = 1;
                   }},
                  {"one set of symbols, gelu",
                   [](AttentionCase& c) {
                       set<Symbols::given, RelationActivation::gelu>(c);
                       c.sizes["Hs"] = 1;
                   }},
                  {"symbols by position, silu", set<Symbols::position, RelationActivation::silu>},
                  {"symbols by distance, tanh", set<Symbols::relative, RelationActivation::tanh>},
                  {"retrieved symbols, sigmoid",
                   [](AttentionCase& c) {
                       set<Symbols::symbolic, RelationActivation::sigmoid>(c);
                       options_of<RelationalOptions>(c).symbol_scale = 0.4f;
                   }}},
     .sizes =
         [](AttentionCase& c) {
             c.sizes["H"] = c.shape.Hq, c.sizes["Hs"] = c.shape.Hkv, c.sizes["Ds"] = c.shape.Dv;
             c.sizes["R"] = 3, c.sizes["Dr"] = 5;
         },
     .fill =
         [](AttentionCase& c) {
             const Symbols kind = options_of<RelationalOptions>(c).symbols;
             const std::int64_t width = 8, sets = 2, templates = 11;
             if (kind == Symbols::given) return c.put("symbols", c.sizes["Hs"], c.shape.Tk, c.shape.Dv);
             c.put("w_symbol", c.sizes["Hs"], width, c.shape.Dv, 0.4f);
             if (kind == Symbols::position) c.put("symbol_library", c.shape.Tk + 5, 1, width);
             if (kind == Symbols::relative) c.put("symbol_library", 13, 1, width);
             if (kind != Symbols::symbolic) return;
             c.put("symbol_q", sets, c.shape.Tk, 9);
             c.put("templates", sets, templates, 9);
             c.put("symbol_library", sets, templates, width / sets);
         },
     .in_suites = false});

TEST(Relational, EqualsTheDefinition) {
    const Shape shapes[] = {
        {1, 1, 1, 1, 8, 8}, {4, 2, 1, 37, 16, 24}, {3, 1, 9, 9, 6, 5}, {4, 2, 70, 130, 20, 16}, {8, 4, 5, 300, 12, 9}};
    on_every_isa([&](Context& context) {
        for (std::size_t variant = 0; variant < mechanism.variants.size(); ++variant)
            for (const Shape& s : shapes)
                for (const bool causal : {false, true}) {
                    AttentionCase c = attention_case(mechanism, s, variant, 3, causal ? 2 : 0);
                    attenta::VisibleKeys& v = *mechanism.visibility(c);
                    v.causal = causal;
                    if (causal) v.window_left = 40;
                    Output got = output_of(c);
                    call(c, got, context);
                    EXPECT_TRUE(close(got, mechanism.naive(c))) << c.words;
                }
    });
}

/// Queries go in ranges where relations with all keys are many; masks know them by their numbers in the call.
TEST(Relational, RangesKeepTheirMasks) {
    AttentionCase c = attention_case(mechanism, {4, 2, 90, 9000, 8, 8});
    c.mask = std::make_unique<bool[]>(90 * 9000);
    for (std::int64_t i = 0; i < 90 * 9000; ++i) c.mask[static_cast<std::size_t>(i)] = c.random.chance(0.01);
    mechanism.visibility(c)->mask = {c.mask.get(), 1, 90, 9000};
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    EXPECT_TRUE(close(got, mechanism.naive(c)));
}

TEST(RelationalErrors, RefusesWhatDoesNotFit) {
    AttentionCase given = attention_case(mechanism, {4, 2, 3, 20, 8, 8}),
                  made = attention_case(mechanism, {4, 2, 3, 20, 8, 8}, 4);
    Output out = output_of(given);
    const auto call_with = [&](AttentionCase& from, auto&& change) {
        return [&, change] {
            RelationalInputs x = inputs_of<RelationalInputs>(from);
            RelationalOptions o = options_of<RelationalOptions>(from);
            change(x, o);
            attenta::relational(x, {out.o.view(), out.lse.data()}, o);
        };
    };
    EXPECT_TRUE(refuses(call_with(given, [](auto& x, auto&) { x.symbols.data = nullptr; }), {"relational", "symbols"}));
    EXPECT_TRUE(refuses(call_with(given, [](auto& x, auto&) { x.symbols.heads = 3; }), {"symbols", "3", "4"}));
    EXPECT_TRUE(refuses(call_with(given, [](auto& x, auto&) { x.q_rel.tokens = 2; }), {"q_rel", "2", "3"}));
    EXPECT_TRUE(refuses(call_with(given, [](auto& x, auto&) { x.w_rel.dim = 2; }), {"w_rel", "2", "3"}));
    EXPECT_TRUE(
        refuses(call_with(made, [](auto& x, auto&) { x.symbol_library.heads = 12; }), {"symbol_library", "12", "odd"}));
    EXPECT_TRUE(refuses(call_with(made, [](auto& x, auto&) { x.w_symbol.tokens = 7; }), {"w_symbol", "7", "8"}));
    EXPECT_TRUE(refuses(call_with(made, [](auto& x, auto&) { x.w_symbol.data = nullptr; }), {"w_symbol"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
