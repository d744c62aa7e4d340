#include <attenta/variants/memory/intra_temporal.hpp>

#include <algorithm>

#include "softmax/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "variants/support/naive_bilinear.hpp"

namespace attenta_test {
namespace {

using attenta::IntraTemporalInputs, attenta::IntraTemporalOptions, attenta::IntraTemporalOutputs;

/// L before each step, and after the last one.
Naive definition(const IntraTemporalInputs& x, const IntraTemporalOptions& o) {
    const std::int64_t keys = x.kv.length(0), heads = x.q.heads;
    const auto score = naive_bilinear(x, double{o.scale});
    std::vector<double> less;
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t j = 0; j < keys; ++j) {
            double past = x.state ? double{x.state.row(0, h)[j]} : minus_infinity;
            for (std::int64_t t = 0; t < x.q.tokens; ++t) {
                const double e = score(h, t, j);
                less.push_back(past == minus_infinity ? e : e - past);
                const double top = std::max(past, e);
                past = top + std::log(std::exp(past - top) + std::exp(e - top));
            }
        }
    Naive r = NaiveAttention{
        .score = [&](std::int64_t h, std::int64_t t,
                     std::int64_t j) { return less[static_cast<std::size_t>((h * keys + j) * x.q.tokens + t)]; },
        .sees = [](std::int64_t, std::int64_t, std::int64_t) { return true; }}(heads, x.q.tokens, v_of(x.kv));
    r.lse.clear();
    return r;
}

const auto& mechanism = test_attention<&attenta::intra_temporal, &definition>(
    {.name = "intra_temporal",
     .variants = {{"bilinear",
                   [](AttentionCase& c) {
                       c.sizes["Dq"] = c.shape.D + 5;
                       c.put("w_a", 1, c.shape.D + 5, c.shape.D, 0.2f);
                   }},
                  {"state", [](AttentionCase& c) { c.put("state", 1, c.shape.Hq, c.shape.Tk, 3.f); }},
                  {"large scores", [](AttentionCase& c) { options_of<IntraTemporalOptions>(c).scale = 5.f; }}},
     .sizes = [](AttentionCase& c) { c.sizes["Dq"] = c.shape.D; },
     .keys_in_any_order = false,  // a state has theirs
     .rows_are_apart = false});

/// Steps one by one, and cut anywhere, with the state in place or elsewhere: what one call gives.
TEST(IntraTemporal, CanBeCutAnywhere) {
    AttentionCase c = attention_case(mechanism, {4, 2, 90, 77, 16, 24});
    const auto x = inputs_of<IntraTemporalInputs>(c);
    on_every_isa([&](Context& context) {
        Output whole = output_of(c);
        std::vector<float> end(4 * 77), state(4 * 77, minus_infinity);
        attenta::intra_temporal(x, {{whole.o.view()}, {end.data(), 1, 4, 77}}, {}, context);
        Output parts = output_of(c);
        for (std::int64_t begin = 0; begin < 90;) {
            const std::int64_t n = begin < 3 ? 1 : std::min<std::int64_t>(40, 90 - begin);
            IntraTemporalInputs part = x;
            part.q = x.q.slice(begin, n);
            part.state = {state.data(), 1, 4, 77};
            attenta::intra_temporal(part, {{parts.o.view().slice(begin, n)}, {state.data(), 1, 4, 77}}, {}, context);
            begin += n;
        }
        whole.lse = parts.lse = std::vector<float>(whole.lse.size());  // it has none
        EXPECT_LT(distance(whole, parts), 2e-5);
        for (std::size_t i = 0; i < end.size(); ++i) EXPECT_NEAR(end[i], state[i], 1e-4);
    });
}

TEST(IntraTemporal, RefusesStatesThatDoNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 5, 40, 16, 8});
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        auto x = inputs_of<IntraTemporalInputs>(c);
        std::vector<float> in(80), end(80);
        Output got = output_of(c);
        x.state = {in.data(), 1, 2, 40};
        IntraTemporalOutputs out{{got.o.view()}, {end.data(), 1, 2, 40}};
        spoil(x, out);
        const auto result = refuses([&] { attenta::intra_temporal(x, out); }, words);
        const float fresh = untouched<float>();
        EXPECT_TRUE(same_bits(got.o.row(0, 0), &fresh, 1));
        return result;
    };
    using In = IntraTemporalInputs;
    using Out = IntraTemporalOutputs;
    EXPECT_TRUE(refused({"intra_temporal", "state", "39"}, [](In& x, Out&) { x.state.cols = 39; }));
    EXPECT_TRUE(refused({"intra_temporal", "state", "1"}, [](In& x, Out&) { x.state.rows = 1; }));
    EXPECT_TRUE(refused({"intra_temporal", "state"}, [](In&, Out& out) { out.state.cols = 39; }));
    EXPECT_TRUE(refused({"intra_temporal", "state", "o"}, [](In&, Out& out) { out.state.data = out.o.data; }));
    EXPECT_TRUE(refused({"intra_temporal", "state", "overlaps"},
                        [](In& x, Out& out) { out.state.data = const_cast<float*>(x.state.data) + 1; }));
}

}  // namespace
}  // namespace attenta_test
