// Head parameters equal their definition; equal logits keep the order of the tokens; a head that copies has all of the score; own errors.
#include <attenta/analysis/head_parameters.hpp>

#include "analysis/support/readout.hpp"

namespace attenta_test {
namespace {

using analysis::HeadParametersInputs, analysis::HeadParametersOptions;
constexpr auto call = &analysis::head_parameters;
using Row = std::vector<double>;

/// row · m, of a dense matrix of row.size() rows.
Row product(const Row& row, const float* m, std::int64_t cols) {
    Row to(static_cast<std::size_t>(cols));
    for (std::size_t r = 0; r < row.size(); ++r)
        for (std::size_t c = 0; c < to.size(); ++c) to[c] += row[r] * double{m[r * to.size() + c]};
    return to;
}

double norm(const Row& x) { return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0)); }

std::vector<std::int64_t> sorted(const Row& x, bool descending) {
    std::vector<std::int64_t> order(x.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        const double u = x[static_cast<std::size_t>(a)], v = x[static_cast<std::size_t>(b)];
        return descending ? u > v : u < v;
    });
    return order;
}

Values definition(const HeadParametersInputs& x, const HeadParametersOptions& o) {
    const std::int64_t heads = x.w_o.size(0), group = heads / x.w_v.size(0), count = x.embeddings.size(0),
                       dim = x.embeddings.size(1), dim_v = x.w_v.size(2);
    Values want;
    for (std::int64_t h = 0; h < heads; ++h) {
        double above = 0, below = 0;
        for (std::int64_t n = 0; n < count; ++n) {
            const Row e(x.embeddings.data + n * dim, x.embeddings.data + (n + 1) * dim);
            const Row moved =
                product(product(e, x.w_v.data + h / group * dim * dim_v, dim_v), x.w_o.data + h * dim_v * dim, dim);
            const Row logits = product(moved, x.unembed.data, x.unembed.size(1));
            const auto down = sorted(logits, true), up = sorted(logits, false);
            const auto place = [&](const auto& order) {
                return static_cast<double>(
                    std::find(order.begin(), order.end(), x.targets[static_cast<std::size_t>(n)]) - order.begin());
            };
            above += place(down) < static_cast<double>(o.k);
            below += place(up) < static_cast<double>(o.k);
            want["rank"].push_back(place(down));
            want["amplification"].push_back(norm(moved) / norm(e));
            want["top_tokens"].insert(want["top_tokens"].end(), down.begin(), down.begin() + o.top);
        }
        want["relation_score"].push_back(above / static_cast<double>(count));
        want["suppression_score"].push_back(below / static_cast<double>(count));
    }
    return want;
}

HeadParametersInputs drawn(Memory& memory, std::int64_t heads, std::int64_t kv_heads, std::int64_t count,
                           std::int64_t dim, std::int64_t dim_v, std::int64_t words) {
    std::vector<std::int64_t> targets(static_cast<std::size_t>(count));
    for (std::int64_t& t : targets) t = memory.random.integer(0, words - 1);
    return {memory.normals<2>({count, dim}), memory.normals<3>({kv_heads, dim, dim_v}, 0.3f),
            memory.normals<3>({heads, dim_v, dim}, 0.3f), memory.normals<2>({dim, words}),
            memory.indices(std::move(targets))};
}

TEST(HeadParameters, EqualsItsDefinition) {
    Memory memory;
    for (const auto& [heads, kv_heads, count, dim, dim_v, words] : {std::array<std::int64_t, 6>{1, 1, 1, 1, 1, 1},
                                                                    {4, 2, 11, 24, 8, 50},
                                                                    {3, 1, 5, 7, 9, 37},
                                                                    {2, 2, 70, 5, 3, 19}})
        for (const std::int64_t top : {std::int64_t{1}, std::min<std::int64_t>(words, 5), words}) {
            const auto x = drawn(memory, heads, kv_heads, count, dim, dim_v, words);
            const HeadParametersOptions o{(words + 2) / 3, top};
            expect_values<call>(x, o, definition(x, o));
        }
}

/// So many tokens that the logits of the rows do not fit in one piece.
TEST(HeadParameters, TakesTheLogitsPieceByPiece) {
    Memory memory;
    const auto x = drawn(memory, 2, 1, 67, 2, 1, 70000);
    analysis::HeadParametersOutputs out;
    std::vector<std::int64_t> rank(134);
    out.rank = rank.data();
    analysis::head_parameters(x, out);
    for (const std::int64_t row : {0, 63, 64, 66, 67, 133}) {
        auto one = x;
        one.embeddings = {x.embeddings.data + row % 67 * 2, {1, 2}};
        one.w_o = {x.w_o.data + row / 67 * 2, {1, 1, 2}};
        one.targets = x.targets.subspan(static_cast<std::size_t>(row % 67), 1);
        std::int64_t alone = -1;
        analysis::head_parameters(one, {.rank = &alone});
        EXPECT_EQ(rank[static_cast<std::size_t>(row)], alone) << row;
    }
}

/// Identity maps: every token is its own top, and with the sign turned its own bottom. Others tie.
TEST(HeadParameters, KnowsAHeadThatCopies) {
    Memory memory;
    std::vector<float> identity(16), turned(16);
    for (std::size_t i = 0; i < 4; ++i) identity[i * 5] = 1, turned[i * 5] = -1;
    std::vector<float> both(identity);
    both.insert(both.end(), turned.begin(), turned.end());
    const float* const unit = memory.vector(identity).data();
    const HeadParametersInputs x{{unit, {4, 4}},
                                 {unit, {1, 4, 4}},
                                 {memory.vector(both).data(), {2, 4, 4}},
                                 {unit, {4, 4}},
                                 memory.indices({0, 1, 2, 3})};
    expect_values<call>(x, {1, 2},
                        {{"relation_score", {1, 0}},
                         {"suppression_score", {0, 1}},
                         {"rank", {0, 0, 0, 0, 3, 3, 3, 3}},
                         {"amplification", Row(8, 1)},
                         {"top_tokens", {0, 1, 1, 0, 2, 0, 3, 0, 1, 2, 0, 2, 0, 1, 0, 1}}});
}

TEST(HeadParametersErrors, SaysWhatDoesNotFit) {
    Memory memory;
    const auto x = drawn(memory, 4, 2, 5, 6, 3, 12);
    expect_bad_tensors_refused<call>(x, {});
    const auto refused = [&](auto change, std::initializer_list<std::string_view> words) {
        return refuses_options<call>(x, {}, change, words);
    };
    EXPECT_TRUE(refused([](auto& o) { o.k = 0; }, {"head_parameters", "k", "0", "1 to 12"}));
    EXPECT_TRUE(refused([](auto& o) { o.k = 13; }, {"k", "13", "1 to 12"}));
    EXPECT_TRUE(refused([](auto& o) { o.top = 13; }, {"top", "13", "1 to 12"}));
    for (const std::int64_t target : {-1, 12}) {
        const auto targets = memory.indices({0, 1, target, 3, 4});
        EXPECT_TRUE(refuses_inputs<call>(x, {}, [&](auto& in) { in.targets = targets; },
                                         {"targets", std::to_string(target), "0 to 11"}));
    }
    EXPECT_TRUE(refuses_inputs<call>(x, {}, [](auto& in) { in.w_o.sizes[0] = 3; }, {"w_v", "2 heads", "3"}));
    std::vector<float> rows(x.embeddings.data, x.embeddings.data + 30);
    std::fill_n(rows.begin() + 12, 6, 0.f);
    const auto spoiled = [&](auto& in) { in.embeddings.data = rows.data(); };
    EXPECT_TRUE(refuses_inputs<call>(x, {}, spoiled, {"embeddings", "0 in row 2"}));
    rows[12] = std::nanf("");
    EXPECT_TRUE(refuses_inputs<call>(x, {}, spoiled, {"embeddings", "nan", "12"}));
}

}  // namespace
}  // namespace attenta_test
