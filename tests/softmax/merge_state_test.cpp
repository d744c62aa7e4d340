// merge_state equals its definition:  lse = ln Σ_p exp(lse_p),  o = Σ_p exp(lse_p − lse) o_p;  lse_p = −inf is neutral.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// [parts, heads, tokens, dim] and [parts, heads, tokens]
struct Parts {
    std::int64_t parts, heads, tokens, dim;
    std::vector<float> o, lse;

    std::int64_t rows() const { return heads * tokens; }
    float* o_row(std::int64_t p, std::int64_t r) { return o.data() + (p * rows() + r) * dim; }
    const float* o_row(std::int64_t p, std::int64_t r) const { return o.data() + (p * rows() + r) * dim; }
    float lse_of(std::int64_t p, std::int64_t r) const { return lse.data()[p * rows() + r]; }
};

Parts random_parts(std::uint64_t seed, std::int64_t parts, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                   float gain = 3) {
    Random random(seed);
    Parts x{parts,
            heads,
            tokens,
            dim,
            random.normals(parts * heads * tokens * dim),
            random.normals(parts * heads * tokens)};
    for (float& l : x.lse) l *= gain;
    return x;
}

/// Marks one part in three as empty, with garbage in its o.
void empty_some(Parts& x, std::uint64_t seed) {
    Random random(seed);
    for (std::int64_t p = 0; p < x.parts; ++p)
        for (std::int64_t r = 0; r < x.rows(); ++r)
            if (random.chance(0.33)) {
                x.lse.data()[p * x.rows() + r] = -infinity;
                std::fill_n(x.o_row(p, r), x.dim, nan);
            }
}

Parts merged(const Parts& x, attenta::Context& context) {
    Parts y{1,
            x.heads,
            x.tokens,
            x.dim,
            std::vector<float>(x.o.size() / static_cast<std::size_t>(x.parts), nan),
            std::vector<float>(x.lse.size() / static_cast<std::size_t>(x.parts), nan)};
    attenta::merge_state(x.o.data(), x.lse.data(), x.parts, x.heads, x.tokens, x.dim, y.o.data(), y.lse.data(),
                         context);
    return y;
}

void expect_definition(const Parts& x, const Parts& got) {
    for (std::int64_t r = 0; r < x.rows(); ++r) {
        double z = 0, m = -infinity;
        for (std::int64_t p = 0; p < x.parts; ++p) m = std::max(m, double{x.lse_of(p, r)});
        for (std::int64_t p = 0; p < x.parts && m > -infinity; ++p) z += std::exp(double{x.lse_of(p, r)} - m);
        const double lse = z > 0 ? m + std::log(z) : -infinity;
        if (got.lse_of(0, r) != lse) {
            ASSERT_NEAR(got.lse_of(0, r), lse, 2e-6 * std::max(1.0, std::abs(lse)));
        }
        for (std::int64_t c = 0; c < x.dim; ++c) {
            double o = 0;
            for (std::int64_t p = 0; p < x.parts; ++p)
                if (x.lse_of(p, r) > -infinity) o += std::exp(double{x.lse_of(p, r)} - lse) * double{x.o_row(p, r)[c]};
            ASSERT_NEAR(got.o_row(0, r)[c], o, 4e-6 + 4e-6 * std::abs(lse)) << "row " << r << " channel " << c;
        }
    }
}

void expect_close(const Parts& a, const Parts& b) {
    for (std::size_t i = 0; i < a.o.size(); ++i) ASSERT_NEAR(a.o[i], b.o[i], 1e-5);
    for (std::size_t i = 0; i < a.lse.size(); ++i)
        ASSERT_TRUE(a.lse[i] == b.lse[i] || std::abs(a.lse[i] - b.lse[i]) < 1e-5f);
}

/// Parts in another order.
Parts picked(const Parts& x, const std::vector<std::int64_t>& which) {
    Parts y{static_cast<std::int64_t>(which.size()), x.heads, x.tokens, x.dim, {}, {}};
    for (const std::int64_t p : which) {
        y.o.insert(y.o.end(), x.o_row(p, 0), x.o_row(p, 0) + x.rows() * x.dim);
        y.lse.insert(y.lse.end(), x.lse.data() + p * x.rows(), x.lse.data() + (p + 1) * x.rows());
    }
    return y;
}

Parts joined(const Parts& a, const Parts& b) {
    Parts y = a;
    y.parts += b.parts;
    y.o.insert(y.o.end(), b.o.begin(), b.o.end());
    y.lse.insert(y.lse.end(), b.lse.begin(), b.lse.end());
    return y;
}

TEST(MergeState, EqualsItsDefinition) {
    for (const std::int64_t parts : {1, 2, 3, 7, 64})
        for (const std::int64_t tokens : {1, 5, 40})
            for (const std::int64_t dim : {1, 7, 33, 64, 128}) {
                Parts x = random_parts(static_cast<std::uint64_t>(parts * dim), parts, 3, tokens, dim);
                on_every_isa([&](attenta::Context& context) { expect_definition(x, merged(x, context)); });
                empty_some(x, 4);
                on_every_isa([&](attenta::Context& context) { expect_definition(x, merged(x, context)); });
            }
}

TEST(MergeState, PartsFarApartDoNotOverflow) {
    const Parts x = random_parts(1, 5, 2, 9, 16, 1000);
    on_every_isa([&](attenta::Context& context) { expect_definition(x, merged(x, context)); });
}

TEST(MergeState, EmptyPartsAreNeutralWhateverTheirOutput) {
    Parts x = random_parts(1, 1, 2, 5, 33), empty = random_parts(2, 2, 2, 5, 33);
    std::fill(empty.lse.begin(), empty.lse.end(), -infinity);
    std::fill(empty.o.begin(), empty.o.end(), nan);
    on_every_isa([&](attenta::Context& context) {
        expect_close(merged(joined(empty, x), context), x);
        expect_close(merged(joined(x, empty), context), x);
        const Parts nothing = merged(empty, context);
        EXPECT_EQ(nothing.o, std::vector<float>(nothing.o.size(), 0));
        EXPECT_EQ(nothing.lse, std::vector<float>(nothing.lse.size(), -infinity));
    });
}

TEST(MergeState, IsCommutative) {
    Parts x = random_parts(3, 4, 3, 6, 20);
    empty_some(x, 5);
    on_every_isa([&](attenta::Context& context) {
        expect_close(merged(x, context), merged(picked(x, {2, 0, 3, 1}), context));
    });
}

TEST(MergeState, IsAssociative) {
    Parts x = random_parts(4, 4, 3, 6, 20);
    empty_some(x, 6);
    on_every_isa([&](attenta::Context& context) {
        const Parts left = merged(picked(x, {0, 1}), context), right = merged(picked(x, {2, 3}), context);
        expect_close(merged(x, context), merged(joined(left, right), context));
        expect_close(merged(x, context),
                     merged(joined(merged(picked(x, {0, 1, 2}), context), picked(x, {3})), context));
    });
}

TEST(MergeState, MayWriteOverTheFirstPart) {
    Parts x = random_parts(5, 3, 4, 9, 40);
    empty_some(x, 7);
    on_every_isa([&](attenta::Context& context) {
        const Parts want = merged(x, context);
        Parts y = x;
        attenta::merge_state(y.o.data(), y.lse.data(), 3, 4, 9, 40, y.o.data(), y.lse.data(), context);
        EXPECT_TRUE(std::equal(want.o.begin(), want.o.end(), y.o.begin()));
        EXPECT_TRUE(std::equal(want.lse.begin(), want.lse.end(), y.lse.begin()));
    });
}

TEST(MergeState, OneAndThreeThreadsGiveTheSameBits) {
    const Parts x = random_parts(6, 5, 8, 50, 64);
    attenta::ThreadPool pool(3);
    attenta::Context parallel(pool), serial;
    const Parts a = merged(x, serial), b = merged(x, parallel);
    EXPECT_EQ(a.o, b.o);
    EXPECT_EQ(a.lse, b.lse);
}

TEST(MergeState, NoRowsDoNothing) {
    float o = 7, lse = 7;
    attenta::merge_state(&o, &lse, 2, 0, 0, 4, &o, &lse);
    EXPECT_EQ(o, 7);
    EXPECT_EQ(lse, 7);
}

TEST(MergeState, LseIsOptional) {
    const Parts x = random_parts(8, 3, 2, 5, 8);
    on_every_isa([&](attenta::Context& context) {
        const Parts want = merged(x, context);
        std::vector<float> o(want.o.size());
        attenta::merge_state(x.o.data(), x.lse.data(), 3, 2, 5, 8, o.data(), nullptr, context);
        EXPECT_EQ(o, want.o);
    });
}

TEST(MergeState, RefusesNullPointersOverlapsAndAbsurdSizes) {
    Parts x = random_parts(9, 3, 2, 5, 8);
    const Parts before = x;
    std::vector<float> o(80, 7), lse(10, 7);
    for (auto* memory : {&x.o, &x.lse, &o}) memory->reserve(1000);  // what begins on the last element ends there, too
    float *o_parts = x.o.data(), *lse_parts = x.lse.data();
    const auto call = [](const float* from, const float* from_lse, float* to, float* to_lse) {
        return [=] { attenta::merge_state(from, from_lse, 3, 2, 5, 8, to, to_lse); };
    };
    EXPECT_TRUE(refuses(call(nullptr, lse_parts, o.data(), lse.data()), {"merge_state", "o_parts", "null"}));
    EXPECT_TRUE(refuses(call(o_parts, nullptr, o.data(), lse.data()), {"merge_state", "lse_parts", "null"}));
    EXPECT_TRUE(refuses(call(o_parts, lse_parts, nullptr, lse.data()), {"merge_state", "o", "null"}));
    for (const std::int64_t at : {1, 80, 160, 239})
        EXPECT_TRUE(refuses(call(o_parts, lse_parts, o_parts + at, lse.data()), {"o", "o_parts"}));
    for (const std::int64_t at : {1, 10, 29})
        EXPECT_TRUE(refuses(call(o_parts, lse_parts, o.data(), lse_parts + at), {"lse", "lse_parts"}));
    EXPECT_TRUE(refuses(call(o_parts, lse_parts, lse_parts + 29, lse.data()), {"o", "lse_parts"}));
    EXPECT_TRUE(refuses(call(o_parts, lse_parts, o.data(), o_parts + 239), {"lse", "o_parts"}));
    EXPECT_TRUE(refuses(call(o_parts, lse_parts, o.data(), o.data() + 79), {"lse", "o"}));
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t n : {most, most / 2, std::int64_t{1} << 32, std::int64_t{1} << 56})
        EXPECT_TRUE(
            refuses([&] { attenta::merge_state(o_parts, lse_parts, n, 1, n, 1, o.data(), lse.data()); }, {"memory"}));
    EXPECT_EQ(x.o, before.o);
    EXPECT_EQ(x.lse, before.lse);
    EXPECT_EQ(o, std::vector<float>(80, 7));
    EXPECT_EQ(lse, std::vector<float>(10, 7));
}

TEST(MergeState, RefusesBadInput) {
    Parts x = random_parts(7, 3, 2, 5, 8);
    std::vector<float> o(80, 7), lse(10, 7);
    const auto call = [&](std::int64_t parts, std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        return [=, &x, &o, &lse] {
            attenta::merge_state(x.o.data(), x.lse.data(), parts, heads, tokens, dim, o.data(), lse.data());
        };
    };
    EXPECT_TRUE(refuses(call(0, 2, 5, 8), {"merge_state", "parts", "0"}));
    EXPECT_TRUE(refuses(call(-1, 2, 5, 8), {"merge_state", "parts", "-1"}));
    EXPECT_TRUE(refuses(call(3, -2, 5, 8), {"merge_state", "-2"}));
    EXPECT_TRUE(refuses(call(3, 2, -5, 8), {"merge_state", "-5"}));
    EXPECT_TRUE(refuses(call(3, 2, 5, -8), {"merge_state", "-8"}));
    for (const float bad : {infinity, nan}) {
        x.lse[27] = bad;
        EXPECT_TRUE(refuses(call(3, 2, 5, 8), {"merge_state"}));
    }
    EXPECT_EQ(o, std::vector<float>(80, 7));
    EXPECT_EQ(lse, std::vector<float>(10, 7));
}

}  // namespace
}  // namespace attenta_test
