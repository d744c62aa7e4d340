#include <attenta/variants/network/luong_global.hpp>

#include "naive_luong.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::LuongGlobalInputs, attenta::LuongGlobalOptions, attenta::LuongGlobalOutputs;

Naive definition(const LuongGlobalInputs& x, const LuongGlobalOptions& o) {
    const std::int64_t Tq = x.q.tokens, Tk = x.kv.length(0);
    const auto scores = naive_luong(o.score, x.q, k_of(x.kv), x.w_a, x.v_a, double{o.scale.value_or(1.f)});
    return NaiveAttention{.score = scores, .sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
                              return naive_sees(o.visibility, h, i, Tq, j, Tk);
                          }}(x.q.heads, Tq, v_of(x.kv));
}

template <LuongScore score>
void set_score(AttentionCase& c) {
    options_of<LuongGlobalOptions>(c).score = score;
}

const auto& mechanism = test_attention<&attenta::luong_global, &definition>(
    {.name = "luong_global",
     .variants = {{"general", set_score<LuongScore::general>},
                  {"concat, scale",
                   [](AttentionCase& c) {
                       set_score<LuongScore::concat>(c);
                       options_of<LuongGlobalOptions>(c).scale = -1.5f;
                   }},
                  {"location", set_score<LuongScore::location>}},
     .sizes = [](AttentionCase& c) { c.sizes["Dq"] = c.shape.D, c.sizes["Dk"] = c.shape.D; },
     .fill = [](AttentionCase& c) { put_luong(c, options_of<LuongGlobalOptions>(c).score); },
     .keys_in_any_order = false});

//   h = tanh(W_c [o; q])
TEST(LuongGlobal, GivesTheHiddenState) {
    AttentionCase c = attention_case(mechanism, {4, 2, 9, 20, 10, 6});
    c.put("w_c", 1, 7, 16);
    const auto x = inputs_of<LuongGlobalInputs>(c);
    const Naive want = definition(x, {});
    on_every_isa([&](Context& context) {
        Output got = output_of(c);
        Tensor<float> h(4, 9, 7, Order::token_head, 3);
        LuongGlobalOutputs out;
        out.o = got.o.view(), out.h = h.view();
        attenta::luong_global(x, out, {}, context);
        h.each_row([&](const float* row, std::int64_t head, std::int64_t t) {
            const std::vector<double> o(want.o_row(head, t), want.o_row(head, t) + 6);
            const auto y = naive_sum(naive_linear(x.w_c, o), naive_linear(x.w_c, wide(x.q.row(head, t), 10), 6));
            for (std::size_t d = 0; d < 7; ++d) EXPECT_NEAR(row[d], std::tanh(y[d]), 1e-5);
        });
        EXPECT_TRUE(h.padding_is_untouched());
    });
}

TEST(LuongGlobalErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 3, 20, 8, 8});
    c.put("w_a", 1, 8, 8);
    c.put("w_c", 1, 5, 16);
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            auto x = inputs_of<LuongGlobalInputs>(c);
            LuongGlobalOptions o;
            LuongGlobalOutputs to;
            to.o = out.o.view(), to.lse = out.lse.data();
            change(x, o, to);
            attenta::luong_global(x, to, o);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto& o, auto&) { o.score = LuongScore::general, x.w_a = {}; }),
                        {"w_a", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto& o, auto&) { o.score = LuongScore::general, x.w_a.cols = 7; }),
                        {"w_a", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.score = LuongScore::concat; }), {"w_a", "16"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& o, auto&) { o.score = LuongScore::location; }), {"w_a", "20"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.q.dim = 7; }), {"k", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_c.cols = 15; }), {"w_c", "15", "16"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto& to) { to.h = to.o, x.w_c = {}; }), {"h", "w_c"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& to) { to.h = to.o; }), {"h", "5"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto&, auto& to) { to.h = to.o, to.h.dim = 5; }), {"h", "overlaps", "o"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
