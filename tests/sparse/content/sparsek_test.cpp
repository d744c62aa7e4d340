#include <attenta/sparse/content/sparsek.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::SparsekGate, attenta::SparsekInputs, attenta::SparsekOptions;

/// τ with Σ clip(u − τ, 0, 1) = k, by bisection.
double threshold(const std::vector<double>& u, std::int64_t k) {
    if (u.empty()) return 0;
    const double least = *std::min_element(u.begin(), u.end()) - 1;
    if (static_cast<std::int64_t>(u.size()) <= k) return least;
    double low = least, high = *std::max_element(u.begin(), u.end());
    for (int step = 0; step < 200; ++step) {
        const double middle = (low + high) / 2;
        double sum = 0;
        for (const double x : u) sum += std::clamp(x - middle, 0.0, 1.0);
        (sum >= static_cast<double>(k) ? low : high) = middle;
    }
    return low;
}

/// Candidates of head h that the query at position i reads, and all gates.
Keys chosen(const SparsekInputs& x, const SparsekOptions& o, std::int64_t h, std::int64_t i, std::vector<double>& gate,
            double& tau) {
    std::vector<double> u;
    for (std::int64_t j = 0; j <= i - o.window; ++j) u.push_back(double{x.u.row(h, j)[0]});
    tau = threshold(u, o.k);
    gate.clear();
    for (double& s : u) {
        gate.push_back(static_cast<std::int64_t>(u.size()) <= o.k ? 1.0 : std::clamp(s - tau, 0.0, 1.0));
        if (gate.back() <= 0) s = minus_infinity;
    }
    return best(u, o.k);
}

Naive naive_sparsek(const SparsekInputs& x, const SparsekOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const double scale = naive_scale(o.scale, x.q.dim);
    Naive result = naive_result(x.q, x.kv);
    std::vector<double> gate;
    double tau = 0;
    for (std::int64_t h = 0; h < x.q.heads; ++h)
        for (std::int64_t row = 0; row < x.q.tokens; ++row) {
            const std::int64_t kv_head = h / (x.q.heads / k.heads), i = k.tokens - x.q.tokens + row;
            std::deque<std::vector<float>> values;
            NaiveRow to;
            const auto add = [&](std::int64_t j, double m) {
                values.emplace_back(v.row(kv_head, j), v.row(kv_head, j) + v.dim);
                for (float& y : values.back())
                    y = static_cast<float>(double{y} * (o.gate == SparsekGate::none ? 1 : m));
                to.add(
                    scale * (o.gate == SparsekGate::kv ? m : 1) * naive_dot(x.q.row(h, row), k.row(kv_head, j), k.dim),
                    values.back().data());
            };
            for (const std::int64_t j : chosen(x, o, kv_head, i, gate, tau)) add(j, gate[static_cast<std::size_t>(j)]);
            for (const std::int64_t j : range(std::max<std::int64_t>(0, i + 1 - o.window), i + 1)) add(j, 1);
            to.finish(result, h, row);
        }
    return result;
}

SparsekOptions& options(SparseCase& c) { return options_of<SparsekOptions>(c); }

const auto& mechanism = test_sparse<&attenta::sparsek, naive_sparsek>({
    .name = "sparsek",
    .variants = {{"window", [](SparseCase& c) { options(c).window = 7; }},
                 {"window beyond all", [](SparseCase& c) { options(c).window = 4096; }},
                 {"gated values", [](SparseCase& c) { options(c).gate = SparsekGate::v, options(c).window = 3; }},
                 {"no gates", [](SparseCase& c) { options(c).gate = SparsekGate::none, options(c).window = 2; }},
                 {"k 1", [](SparseCase& c) { options(c).k = 1; }},
                 {"slope", [](SparseCase& c) { options(c).k = 4; }},
                 {"spread", [](SparseCase& c) { options(c).k = 5; }},
                 {"near each other", [](SparseCase& c) { options(c).k = 3; }}},
    .sizes = [](SparseCase& c) { options(c).k = 9; },
    .fill =
        [](SparseCase& c) {
            const auto has = [&](const char* variant) { return c.words.find(variant) != std::string::npos; };
            attenta::Heads<float>& u = c.view("u");
            for (std::int64_t h = 0; h < u.heads; ++h)
                for (std::int64_t t = 0; t < u.tokens; ++t) {
                    float& x = u.row(h, t)[0];
                    if (has("(slope)")) x += 0.05f * static_cast<float>(t);
                    if (has("(spread)")) x *= 8;
                    if (has("near each other")) x *= 0.01f;
                }
        },
    .everything = [](SparseCase& c) { options(c).gate = SparsekGate::none, options(c).k = 4096; },
    .outputs = {{"tau", set_output<&attenta::SparsekOutputs::tau>}},
    .select = Selection<&attenta::sparsek_lists>::call,
});

TEST(Sparsek, GivesThresholds) {
    for (std::size_t variant = 0; variant < mechanism.variants.size(); ++variant) {
        SparseCase c = sparse_case(mechanism, {4, 2, 67, 130, 8, 8}, variant, 21);
        SCOPED_TRACE(c.words);
        const auto x = inputs_of<SparsekInputs>(c);
        std::vector<float> tau(2 * 67);
        KeyLists lists;
        attenta::sparsek_lists(x, lists, options(c), tau.data());
        std::vector<double> gate;
        for (std::int64_t n = 0; n < 2 * 67; ++n) {
            double want = 0;
            const std::int64_t i = 63 + n % 67;
            const Keys keys = chosen(x, options(c), n / 67, i, gate, want);
            EXPECT_NEAR(want, double{tau[static_cast<std::size_t>(n)]}, 1e-6 * std::max(1.0, std::abs(want)));
            EXPECT_EQ(lists.keys_of(n), static_cast<std::int64_t>(keys.size()) + std::min(options(c).window, i + 1));
        }
    }
}

/// Whole gates alone: τ is what the smallest of them allows.
TEST(Sparsek, GatesThatAreAllWhole) {
    SparseCase c = sparse_case(mechanism, {1, 1, 5, 5, 4, 4});
    const float scores[] = {1, 5, -2, 9, 20};
    std::copy_n(scores, 5, c.view("u").data);
    std::vector<float> tau(5);
    KeyLists lists;
    attenta::sparsek_lists(inputs_of<SparsekInputs>(c), lists, {.k = 2}, tau.data());
    EXPECT_EQ(tau, (std::vector<float>{0, 0, 0, 4, 8}));
    EXPECT_EQ(lists.text(),
              "head 0, queries 0: 0\nhead 0, queries 1: 0-1\nhead 0, queries 2: 0-1\nhead 0, queries 3: 1 3\n"
              "head 0, queries 4: 3-4\n");
    for (const float gate : lists.key_gain) EXPECT_EQ(gate, 1.f);
}

TEST(SparsekErrors, OptionsAndScores) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 57, 16, 16});
    KeyLists lists;
    const auto x = inputs_of<SparsekInputs>(c);
    EXPECT_TRUE(refuses([&] { attenta::sparsek_lists(x, lists, {.k = 0}); }, {"sparsek", "k", "0", "1"}));
    EXPECT_TRUE(refuses([&] { attenta::sparsek_lists(x, lists, {.window = -1}); }, {"sparsek", "window", "1", "0"}));
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        c.view("u").row(1, 3)[0] = bad;
        EXPECT_TRUE(refuses([&] { attenta::sparsek_lists(x, lists); }, {"sparsek", "u", "finite", "3"}));
        std::vector<float> o(4 * 3 * 16, 7.f);
        EXPECT_THROW(attenta::sparsek(x, {{attenta::hnd(o.data(), 4, 3, 16)}}), attenta::Error);
        EXPECT_EQ(o, std::vector<float>(o.size(), 7.f));
    }
    c.view("u").tokens = 56;
    EXPECT_TRUE(refuses([&] { attenta::sparsek_lists(inputs_of<SparsekInputs>(c), lists); }, {"sparsek", "u", "57"}));
}

}  // namespace
}  // namespace attenta_test
