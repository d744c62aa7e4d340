#include <attenta/variants/network/impatient.hpp>

#include "naive_network.hpp"
#include "support/errors.hpp"
#include "variants/support/call.hpp"

namespace attenta_test {
namespace {

using attenta::ImpatientInputs, attenta::ImpatientOutputs;

//   w = softmax(v_a·tanh(W_k k + W_r r + W_q q)),  r ← Σ w v + tanh(W_rr r)
Wanted definition(const ImpatientInputs& x) {
    std::vector<double> r(static_cast<std::size_t>(x.v.dim));
    for (std::size_t c = 0; c < x.state.size(); ++c) r[c] = double{x.state[c]};
    const auto keys = naive_rows(x.k, [&](const auto& row) { return naive_linear(x.w_k, row); });
    Wanted want;
    for (std::int64_t i = 0; i < x.q.tokens; ++i) {
        const auto half = naive_sum(naive_linear(x.w_r, r), naive_linear(x.w_q, wide(x.q.row(0, i), x.q.dim)));
        std::vector<double> s;
        for (const auto& key : keys) s.push_back(naive_tanh_score(x.v_a, key, half));
        const auto w = naive_softmax(s);
        std::vector<double> next = naive_linear(x.w_rr, r);
        for (std::size_t c = 0; c < next.size(); ++c) {
            next[c] = std::tanh(next[c]);
            for (std::size_t j = 0; j < w.size(); ++j)
                next[c] += w[j] * double{x.v.row(0, static_cast<std::int64_t>(j))[c]};
        }
        r = next;
        want["o"].insert(want["o"].end(), r.begin(), r.end());
        want["weights"].insert(want["weights"].end(), w.begin(), w.end());
    }
    want["state"] = r;
    return want;
}

ImpatientInputs draw(Drawn& d, std::int64_t Tq, std::int64_t Tk, std::int64_t width, bool state) {
    ImpatientInputs x;
    x.q = d.heads(1, Tq, 6), x.k = d.heads(1, Tk, 5), x.v = d.heads(1, Tk, 7);
    x.w_q = d.matrix(width, 6, 0.4f), x.w_k = d.matrix(width, 5, 0.4f), x.w_r = d.matrix(width, 7, 0.4f);
    x.v_a = d.vector(width), x.w_rr = d.matrix(7, 7, 0.3f);
    if (state) x.state = d.vector(7);
    return x;
}

Results run(const ImpatientInputs& x, Context& context) {
    Room o(1, x.q.tokens, x.v.dim);
    std::vector<float> weights(static_cast<std::size_t>(x.q.tokens * x.k.tokens)), state(7);
    attenta::impatient(x, {o.view(), weights.data(), state.data()}, {}, context);
    return {{"o", o.rows()}, {"weights", weights}, {"state", state}};
}

TEST(Impatient, EqualsItsDefinition) {
    for (const auto& [Tq, Tk, width] : {std::array<std::int64_t, 3>{1, 1, 1}, {5, 33, 9}, {3, 700, 4}, {20, 17, 13}})
        for (const bool state : {false, true}) {
            Drawn d(static_cast<std::uint64_t>(Tk), state ? 2 : 0);
            const ImpatientInputs x = draw(d, Tq, Tk, width, state);
            expect_everywhere([&](Context& context) { return run(x, context); }, definition(x));
        }
}

/// A sequence of queries may be cut anywhere.
TEST(Impatient, GoesOnFromItsState) {
    Drawn d(3);
    ImpatientInputs x = draw(d, 9, 40, 8, true);
    Context context;
    const Results whole = run(x, context);
    const auto queries = x.q;
    x.q = queries.slice(0, 4);
    const Results first = run(x, context);
    x.q = queries.slice(4, 5);
    x.state = first.at("state");
    const Results second = run(x, context);
    for (std::size_t c = 0; c < 7; ++c) EXPECT_NEAR(second.at("state")[c], whole.at("state")[c], 1e-5);
}

TEST(ImpatientErrors, RefusesWhatDoesNotFit) {
    Drawn d(3);
    const ImpatientInputs good = draw(d, 4, 9, 8, true);
    Room room(1, 4, 7);
    const auto call_with = [&](auto&& change) {
        return [&, change] {
            ImpatientInputs x = good;
            ImpatientOutputs out{room.view()};
            change(x, out);
            attenta::impatient(x, out);
        };
    };
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.q.heads = 2; }), {"impatient", "q", "2", "1"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.w_rr.cols = 6; }), {"w_rr", "6", "7"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.w_k.data = nullptr; }), {"w_k", "null"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.state = x.state.first(6); }), {"state", "6"}));
    EXPECT_TRUE(refuses(call_with([](auto&, auto& out) { out.o.tokens = 3; }), {"o", "3"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto& out) { out.weights = const_cast<float*>(x.v_a.data()); }),
                        {"weights", "v_a"}));
    EXPECT_TRUE(refuses(call_with([](auto& x, auto&) { x.q.tokens = std::int64_t{1} << 61; }), {"impatient", "q"}));
    EXPECT_TRUE(room.untouched_so_far());
}

}  // namespace
}  // namespace attenta_test
