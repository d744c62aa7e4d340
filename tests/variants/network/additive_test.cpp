#include <attenta/variants/network/additive.hpp>

#include "naive_network.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::AdditiveInputs, attenta::AdditiveOptions, attenta::AdditiveOutputs, attenta::AlignmentMode;

struct NaiveAdditive {
    Naive soft;
    std::vector<std::vector<double>> scores;  ///< [Hq Tq] rows
};

//   s_ij = scale · v_a·tanh(W_q q_i + W_k k_j + b)
NaiveAdditive naive_additive(const AdditiveInputs& x, const AdditiveOptions& o) {
    const View k = k_of(x.kv);
    const std::int64_t Hq = x.q.heads, Tq = x.q.tokens, Tk = k.tokens, group = Hq / k.heads;
    const auto queries = naive_rows(x.q, [&](const auto&row) { return naive_linear(x.w_q, row); }),
               keys = naive_rows(k, [&](const auto&row) { return naive_linear(x.w_k, row); });
    std::vector<std::vector<double>> scores(queries.size(), std::vector<double>(static_cast<std::size_t>(Tk)));
    const auto score = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return double{o.scale.value_or(1.f)} * naive_tanh_score(x.v_a, queries[static_cast<std::size_t>(h * Tq + i)],
                                                                keys[static_cast<std::size_t>(h / group * Tk + j)],
                                                                x.b);
    };
    const auto sees = [&](std::int64_t h, std::int64_t i, std::int64_t j) {
        return naive_sees(o.visibility, h, i, Tq, j, Tk);
    };
    for (std::int64_t row = 0; row < Hq * Tq; ++row)
        for (std::int64_t j = 0; j < Tk; ++j)
            scores[static_cast<std::size_t>(row)][static_cast<std::size_t>(j)] =
                sees(row / Tq, row % Tq, j) ? score(row / Tq, row % Tq, j) : minus_infinity;
    return {NaiveAttention{.score = score, .sees = sees}(Hq, Tq, v_of(x.kv)), scores};
}

/// The key of argmax or of the draw u; −1 where none is seen.
std::int64_t naive_choice(const std::vector<double>& scores, AlignmentMode mode, double u) {
    const std::vector<double> w = naive_softmax(scores);
    std::int64_t chosen = -1;
    double sum = 0;
    for (std::size_t j = 0; j < w.size(); ++j) {
        if (w[j] == 0) continue;
        if (mode == AlignmentMode::argmax ? chosen < 0 || w[j] > w[static_cast<std::size_t>(chosen)] : sum <= u)
            chosen = static_cast<std::int64_t>(j);
        sum += w[j];
    }
    return chosen;
}

Naive definition(const AdditiveInputs& x, const AdditiveOptions& o) {
    NaiveAdditive all = naive_additive(x, o);
    Naive& r = all.soft;
    const View v = v_of(x.kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t i = 0; i < x.q.tokens; ++i) {
            double* const row = r.o_row(h, i);
            if (o.mode != AlignmentMode::soft) {
                const std::int64_t chosen = naive_choice(all.scores[static_cast<std::size_t>(h * x.q.tokens + i)],
                                                         o.mode, x.u.data ? double{*x.u.row(h, i)} : 0);
                for (std::int64_t c = 0; c < v.dim; ++c)
                    row[c] = chosen < 0 ? 0 : double{v.row(h / (x.q.heads / v.heads), chosen)[c]};
            }
            if (x.w_beta.empty()) continue;
            double logit = x.b_beta.empty() ? 0 : double{x.b_beta[0]};
            for (std::int64_t c = 0; c < x.q.dim; ++c) logit += double{x.w_beta.data()[c]} * double{x.q.row(h, i)[c]};
            for (std::int64_t c = 0; c < v.dim; ++c) row[c] *= naive_sigmoid_of(logit);
        }
    return r;
}

template <AlignmentMode mode>
void set_mode(AttentionCase& c) {
    options_of<AdditiveOptions>(c).mode = mode;
}

const auto& mechanism = test_attention<&attenta::additive, &definition>(
    {.name = "additive",
     .variants = {{"scale", [](AttentionCase& c) { options_of<AdditiveOptions>(c).scale = -2.5f; }},
                  {"one channel", [](AttentionCase& c) { c.sizes["A"] = 1; }},
                  {"argmax", set_mode<AlignmentMode::argmax>},
                  {"sample", set_mode<AlignmentMode::sample>},
                  {"large halves", [](AttentionCase& c) { c.sizes["A"] = 6; }}},
     .sizes = [](AttentionCase& c) { c.sizes["Dq"] = c.shape.D, c.sizes["Dk"] = c.shape.D, c.sizes["A"] = 13; },
     .fill =
         [](AttentionCase& c) {
             const std::int64_t width = c.sizes["A"];
             if (width == 6) {  // beyond what exponentials hold, with pairs that cancel
                 c.put("w_q", 1, width, c.shape.D, 20);
                 c.put("w_k", 1, width, c.shape.D, 20);
                 return;
             }
             c.put("b", 1, 1, width);
             c.put("w_beta", 1, 1, c.shape.D);
             if (c.shape.Tq != 1) c.put("b_beta", 1, 1, 1);
             c.put("u", c.shape.Hq, c.shape.Tq, 1);
             c.floats.find("u")->second.each_row(
                 [&](float* row, std::int64_t, std::int64_t) { *row = static_cast<float>(c.random.uniform()); });
         },
     .keys_in_any_order = false});

/// index and beta beside o.
TEST(Additive, GivesTheKeyThatItChose) {
    for (const AlignmentMode mode : {AlignmentMode::argmax, AlignmentMode::sample}) {
        AttentionCase c = attention_case(mechanism, {4, 2, 19, 37, 10, 8});
        auto& options = options_of<AdditiveOptions>(c);
        options.mode = mode;
        options.visibility.causal = true;
        options.visibility.q_offset = -3;  // the first rows see nothing
        const auto x = inputs_of<AdditiveInputs>(c);
        const NaiveAdditive naive = naive_additive(x, options);
        on_every_isa([&](Context& context) {
            Output got = output_of(c);
            std::vector<std::int64_t> index(4 * 19, 99);
            std::vector<float> beta(4 * 19);
            AdditiveOutputs out;
            out.o = got.o.view(), out.lse = got.lse.data(), out.index = index.data(), out.beta = beta.data();
            attenta::additive(x, out, options, context);
            for (std::int64_t row = 0; row < 4 * 19; ++row) {
                const auto n = static_cast<std::size_t>(row);
                EXPECT_EQ(index[n], naive_choice(naive.scores[n], mode, double{*x.u.row(row / 19, row % 19)})) << row;
                EXPECT_TRUE(beta[n] > 0 && beta[n] < 1);
            }
        });
    }
}

TEST(Additive, KeepsNanInTheRowsThatChoose) {
    for (const AlignmentMode mode : {AlignmentMode::argmax, AlignmentMode::sample}) {
        AttentionCase c = attention_case(mechanism, {4, 2, 19, 37, 10, 8});
        options_of<AdditiveOptions>(c).mode = mode;
        c.view("q").row(1, 5)[3] = std::numeric_limits<float>::quiet_NaN();
        on_every_isa([&](Context& context) {
            Output got = output_of(c);
            std::vector<std::int64_t> index(4 * 19, 99);
            AdditiveOutputs out;
            out.o = got.o.view(), out.index = index.data();
            attenta::additive(inputs_of<AdditiveInputs>(c), out, options_of<AdditiveOptions>(c), context);
            for (std::int64_t row = 0; row < 4 * 19; ++row) {
                EXPECT_EQ(index[static_cast<std::size_t>(row)] < 0, row == 24);
                EXPECT_EQ(std::isnan(got.o.row(row / 19, row % 19)[0]), row == 24);
            }
        });
    }
}

/// Up to rounding, whether a call has one query or many.
TEST(Additive, ARowDoesNotDependOnOthers) {
    AttentionCase c = attention_case(mechanism, {2, 1, 70, 90, 8, 8});
    auto x = inputs_of<AdditiveInputs>(c);
    x.w_beta = x.b_beta = {};
    Output all = output_of(c), one(2, 1, 8);
    Context context;
    AdditiveOutputs out, single;
    out.o = all.o.view(), single.o = one.o.view();
    attenta::additive(x, out, {}, context);
    x.q = x.q.slice(33, 1);
    x.u = {};
    attenta::additive(x, single, {}, context);
    for (std::int64_t d = 0; d < 8; ++d) EXPECT_NEAR(all.o.row(1, 33)[d], one.o.row(1, 0)[d], 1e-6);
}

TEST(AdditiveErrors, RefusesWhatDoesNotFit) {
    AttentionCase c = attention_case(mechanism, {2, 1, 30, 20, 8, 8});
    Output out = output_of(c);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            AdditiveInputs x = inputs_of<AdditiveInputs>(c);
            AdditiveOptions o;
            AdditiveOutputs to;
            to.o = out.o.view(), to.lse = out.lse.data();
            change(x, o, to);
            attenta::additive(x, to, o);
        };
    };
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto& o, auto&) { o.visibility.causal = true; }), {"additive", "30", "20"}));
    EXPECT_TRUE(
        refuses(call_with([](auto& x, auto& o, auto&) { o.mode = AlignmentMode::sample, x.u = {}; }), {"u", "null"}));
    EXPECT_TRUE(refuses(call_with([&](auto&, auto& o, auto&) {
                            o.mode = AlignmentMode::sample;
                            *c.view("u").row(1, 7) = 1.f;
                        }),
                        {"u", "1.000000"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto&) { x.w_beta = {}; }), {"b_beta", "w_beta"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&, auto& to) { to.beta = const_cast<float*>(x.w_q.data); }),
                        {"beta", "w_q"}));
    EXPECT_TRUE(
        refuses(call_with([](auto&, auto&, auto& to) { to.index = reinterpret_cast<std::int64_t*>(to.o.data); }),
                {"index", "o"}));
    out.o.each_row([](const float* row, std::int64_t, std::int64_t) { EXPECT_TRUE(std::isnan(row[0])); });
}

}  // namespace
}  // namespace attenta_test
