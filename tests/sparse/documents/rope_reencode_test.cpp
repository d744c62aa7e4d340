#include <attenta/sparse/documents/rope_reencode.hpp>

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::Heads, attenta::RopeReencodeInputs, attenta::RopeReencodeOptions;
using Positions = std::vector<std::int64_t>;

/// Undoes the old rotation, then applies the new one. [heads][tokens][features]
std::vector<double> naive_rope(const RopeReencodeInputs& x, const RopeReencodeOptions& o) {
    const std::int64_t rotated = o.rotary_dim.value_or(x.k.dim), pairs = rotated / 2;
    std::vector<double> result;
    for (std::int64_t h = 0; h < x.k.heads; ++h)
        for (std::int64_t t = 0; t < x.k.tokens; ++t) {
            std::vector<double> row(x.k.row(h, t), x.k.row(h, t) + x.k.dim);
            for (const std::int64_t p :
                 {-x.old_position[static_cast<std::size_t>(t)], x.new_position[static_cast<std::size_t>(t)]})
                for (std::int64_t n = 0; n < pairs; ++n) {
                    const double angle =
                        static_cast<double>(p) *
                        std::pow(double{o.base}, -2.0 * static_cast<double>(n) / static_cast<double>(rotated));
                    double& a = row[static_cast<std::size_t>(o.interleaved ? 2 * n : n)];
                    double& b = row[static_cast<std::size_t>(o.interleaved ? 2 * n + 1 : n + pairs)];
                    const double was = a;
                    a = was * std::cos(angle) - b * std::sin(angle);
                    b = b * std::cos(angle) + was * std::sin(angle);
                }
            result.insert(result.end(), row.begin(), row.end());
        }
    return result;
}

void expect_definition(const RopeReencodeInputs& x, const RopeReencodeOptions& o, std::int64_t pad = 0) {
    const std::vector<double> want = naive_rope(x, o);
    on_every_isa([&](Context& context) {
        std::vector<float> memory(static_cast<std::size_t>(x.k.heads * x.k.tokens * (x.k.dim + pad)), 7.f);
        const Heads<float> to =
            attenta::nhd(memory.data(), x.k.tokens, x.k.heads, x.k.dim, {.head_stride = x.k.dim + pad});
        attenta::rope_reencode(x, to, o, context);
        std::size_t n = 0;
        for (std::int64_t h = 0; h < x.k.heads; ++h)
            for (std::int64_t t = 0; t < x.k.tokens; ++t)
                for (std::int64_t c = 0; c < x.k.dim; ++c, ++n)
                    ASSERT_NEAR(want[n], double{to.row(h, t)[c]}, 1e-5) << h << ' ' << t << ' ' << c;
        for (std::int64_t i = x.k.dim; i < x.k.dim + pad; ++i) EXPECT_EQ(memory[static_cast<std::size_t>(i)], 7.f);
    });
}

/// Blocks that move as a whole, tokens that do not move, and tokens each of which goes elsewhere.
TEST(RopeReencode, HoldsForAwkwardShapes) {
    Random random(3);
    for (const std::int64_t tokens : {1, 9, 300})
        for (const std::int64_t features : {2, 6, 16, 34, 64})
            for (const bool interleaved : {false, true}) {
                const auto k = random_tensor(random, 2, tokens, features, Order::token_head, 3);
                Positions from, to;
                for (std::int64_t t = 0; t < tokens; ++t) {
                    from.push_back(t % 40);
                    to.push_back(t < tokens / 2 ? t % 40 + t / 40 * 77 : random.integer(-50, 200000));
                }
                const RopeReencodeInputs x{k.view(), from, to};
                expect_definition(x, {.interleaved = interleaved});
                expect_definition(x, {.base = 500000, .rotary_dim = 2, .interleaved = interleaved}, 5);
                if (features > 6) expect_definition(x, {.rotary_dim = features - 2, .interleaved = interleaved});
            }
}

TEST(RopeReencode, InPlaceAndForAnyThreads) {
    Random random(4);
    auto k = random_tensor(random, 3, 400, 32);
    Positions from, to;
    for (std::int64_t t = 0; t < 400; ++t) from.push_back(t), to.push_back(random.integer(0, 9));
    std::vector<float> apart(3 * 400 * 32);
    attenta::rope_reencode({k.view(), from, to}, attenta::hnd(apart.data(), 3, 400, 32));
    attenta::ThreadPool pool(3);
    Context context(pool);
    attenta::rope_reencode({k.view(), from, to}, k.view(), {}, context);
    EXPECT_TRUE(std::equal(apart.begin(), apart.end(), k.view().data));
}

TEST(RopeReencodeErrors, NothingIsWritten) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil,
                            const RopeReencodeOptions& o = {}) {
        Random random(5);
        auto k = random_tensor(random, 2, 3, 6);
        const Positions from = {0, 1, 2}, to = {5, 6, 7};
        std::vector<float> memory(36, 7.f);
        RopeReencodeInputs x{k.view(), from, to};
        Heads<float> k_new = attenta::hnd(memory.data(), 2, 3, 6);
        spoil(x, k_new);
        const auto result = refuses([&] { attenta::rope_reencode(x, k_new, o); }, words);
        EXPECT_EQ(memory, std::vector<float>(36, 7.f));
        return result;
    };
    using In = RopeReencodeInputs;
    using Out = Heads<float>;
    const auto nothing = [](In&, Out&) {};
    EXPECT_TRUE(refused({"rope_reencode", "k", "null"}, [](In& x, Out&) { x.k.data = nullptr; }));
    EXPECT_TRUE(refused({"rope_reencode", "k"}, [](In& x, Out&) { x.k.heads = 0; }));
    EXPECT_TRUE(refused({"rope_reencode", "old_position", "null"}, [](In& x, Out&) { x.old_position = {}; }));
    EXPECT_TRUE(refused({"rope_reencode", "new_position", "2", "3"},
                        [](In& x, Out&) { x.new_position = x.new_position.first(2); }));
    EXPECT_TRUE(refused({"rope_reencode", "k_new", "5", "6"}, [](In&, Out& o) { o.dim = 5; }));
    EXPECT_TRUE(refused({"rope_reencode", "k_new", "null"}, [](In&, Out& o) { o.data = nullptr; }));
    EXPECT_TRUE(refused({"rope_reencode", "k_new", "strides"}, [](In&, Out& o) { o.token_stride = 5; }));
    EXPECT_TRUE(refused({"rope_reencode", "k_new", "k"},
                        [](In& x, Out& o) { o.data = const_cast<float*>(x.k.data) + 6, o.tokens = 3; }));
    EXPECT_TRUE(refused({"rope_reencode", "rotary_dim", "3"}, nothing, {.rotary_dim = 3}));
    EXPECT_TRUE(refused({"rope_reencode", "rotary_dim", "8", "6"}, nothing, {.rotary_dim = 8}));
    EXPECT_TRUE(refused({"rope_reencode", "rotary_dim", "0"}, nothing, {.rotary_dim = 0}));
    EXPECT_TRUE(refused({"rope_reencode", "rotary_dim", "5"}, [](In& x, Out& o) { x.k.dim = o.dim = 5; }));
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float base : {0.f, -2.f, infinity})
        EXPECT_TRUE(refused({"rope_reencode", "base", "finite"}, nothing, {.base = base}));
    EXPECT_TRUE(refused({"rope_reencode", "k", "nan"},
                        [](In& x, Out&) { const_cast<float*>(x.k.data)[1] = std::numeric_limits<float>::quiet_NaN(); },
                        {.check_data = true}));
}

}  // namespace
}  // namespace attenta_test
