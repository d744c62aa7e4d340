#include <attenta/sparse/documents/maxsim.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"

namespace attenta_test {
namespace {

using attenta::Context, attenta::MaxsimInputs, attenta::MaxsimOptions, attenta::MaxsimSimilarity;

struct MaxsimCase {
    MaxsimCase(std::int64_t tokens, std::int64_t features, const std::vector<std::int64_t>& lengths,
               std::int64_t pad = 0)
        : documents(static_cast<std::int64_t>(lengths.size())) {
        for (const std::int64_t n : lengths) ptr.push_back(ptr.back() + n);
        Random random(static_cast<std::uint64_t>(tokens * 100 + features));
        const auto draw = [&](std::vector<float>& to, std::int64_t rows) {
            to.resize(static_cast<std::size_t>(rows * (features + pad)));
            for (float& y : to) y = random.normal();
        };
        draw(q, tokens);
        draw(d, ptr.back());
        x = {{q.data(), 1, tokens, features, features + pad}, {d.data(), 1, ptr.back(), features, features + pad}, ptr};
    }

    std::int64_t documents;
    std::vector<std::int64_t> ptr = {0};
    std::vector<float> q, d;
    MaxsimInputs x;
};

struct MaxsimResult {
    std::vector<double> score;
    std::vector<std::int64_t> argmax;
};

MaxsimResult naive_maxsim(const MaxsimInputs& x, const MaxsimOptions& o) {
    MaxsimResult result;
    for (std::size_t b = 0; b + 1 < x.doc_ptr.size(); ++b) {
        double score = 0;
        for (std::int64_t i = 0; i < x.q.rows; ++i) {
            double most = -std::numeric_limits<double>::infinity();
            std::int64_t at = 0;
            for (std::int64_t j = x.doc_ptr[b]; j < x.doc_ptr[b + 1]; ++j) {
                double s = 0;
                for (std::int64_t c = 0; c < x.q.cols; ++c) {
                    const double a = double{x.q.row(0, i)[c]}, y = double{x.d.row(0, j)[c]};
                    s += o.similarity == MaxsimSimilarity::dot ? a * y : -(a - y) * (a - y);
                }
                if (s > most) most = s, at = j - x.doc_ptr[b];
            }
            score += o.floor ? std::max(most, double{*o.floor}) : most;
            result.argmax.push_back(at);
        }
        result.score.push_back(score);
    }
    return result;
}

struct MaxsimGot {
    std::vector<float> score;
    std::vector<std::int64_t> argmax;
};

MaxsimGot run(const MaxsimCase& c, const MaxsimOptions& o, Context& context) {
    MaxsimGot got{std::vector<float>(static_cast<std::size_t>(c.documents)),
                  std::vector<std::int64_t>(static_cast<std::size_t>(c.documents * c.x.q.rows), -7)};
    attenta::maxsim(c.x, {got.score.data(), got.argmax.data()}, o, context);
    return got;
}

void expect_definition(const MaxsimCase& c, const MaxsimOptions& o) {
    const MaxsimResult want = naive_maxsim(c.x, o);
    on_every_isa([&](Context& context) {
        const MaxsimGot got = run(c, o, context);
        for (std::size_t b = 0; b < want.score.size(); ++b)
            EXPECT_NEAR(want.score[b], double{got.score[b]}, 1e-5 * (1 + std::abs(want.score[b]))) << "document " << b;
        EXPECT_EQ(want.argmax, got.argmax);
    });
}

/// Documents of one vector, of some, around vectors and blocks of the loop, and many.
const std::vector<std::int64_t> lengths = {1, 2, 3, 4, 5, 15, 16, 17, 1, 31, 33, 127, 128, 129, 300, 1, 1500, 7};

TEST(Maxsim, HoldsForAwkwardShapes) {
    for (const std::int64_t tokens : {1, 2, 5, 6, 11, 12, 13, 32, 50})
        for (const std::int64_t features : {1, 7, 16, 33}) {
            SCOPED_TRACE(std::to_string(tokens) + " query vectors of " + std::to_string(features));
            const MaxsimCase c(tokens, features, lengths, features % 2);
            expect_definition(c, {});
            expect_definition(c, {.similarity = MaxsimSimilarity::l2});
        }
}

TEST(Maxsim, Floors) {
    const MaxsimCase c(9, 8, {1, 4, 40});
    for (const float floor : {0.f, 2.f, -30.f}) {
        expect_definition(c, {.floor = floor});
        expect_definition(c, {.similarity = MaxsimSimilarity::l2, .floor = floor});
    }
}

/// Of equal vectors the first, whatever lane it stands in.
TEST(Maxsim, TiesGoToTheFirst) {
    MaxsimCase c(3, 4, {100, 40});
    std::fill(c.d.begin(), c.d.end(), 0.5f);
    std::fill_n(c.d.begin(), 4 * 23, 0.25f);
    for (float& x : c.q) x = 1;
    on_every_isa([&](Context& context) {
        EXPECT_EQ(run(c, {}, context).argmax, (std::vector<std::int64_t>{23, 23, 23, 0, 0, 0}));
    });
}

/// Long vectors that are near each other: distances do not drown in their lengths.
TEST(Maxsim, DistancesOfNeighbours) {
    MaxsimCase c(2, 16, {5, 9});
    for (float& x : c.q) x = 1000 + x;
    for (float& x : c.d) x = 1000 + x;
    expect_definition(c, {.similarity = MaxsimSimilarity::l2});
}

TEST(Maxsim, IsTheSameForAnyThreads) {
    const MaxsimCase c(32, 24, std::vector<std::int64_t>(90, 61));
    std::optional<MaxsimGot> first;
    for (const int threads : {1, 2, 3}) {
        attenta::ThreadPool pool(threads);
        Context context(pool);
        const MaxsimGot got = run(c, {}, context);
        if (first) {
            EXPECT_EQ(first->score, got.score);
            EXPECT_EQ(first->argmax, got.argmax);
        } else {
            first = got;
        }
    }
}

TEST(Maxsim, NotANumberIsNeverTheBest) {
    MaxsimCase c(1, 4, {30});
    c.d[4 * 7] = std::numeric_limits<float>::quiet_NaN();
    Context context;
    const MaxsimGot got = run(c, {}, context);
    EXPECT_NE(got.argmax[0], 7);
    EXPECT_TRUE(std::isfinite(got.score[0]));
}

TEST(MaxsimErrors, NothingIsWritten) {
    const auto refused = [](std::initializer_list<std::string_view> words, auto&& spoil, const MaxsimOptions& o = {}) {
        MaxsimCase c(3, 4, {5, 2});
        std::vector<float> score(2, 7.f);
        attenta::MaxsimOutputs out{score.data()};
        spoil(c, out);
        Context context;
        const auto result = refuses([&] { attenta::maxsim(c.x, out, o, context); }, words);
        EXPECT_EQ(score, std::vector<float>(2, 7.f));
        return result;
    };
    using Out = attenta::MaxsimOutputs;
    EXPECT_TRUE(refused({"maxsim", "q", "null"}, [](MaxsimCase& c, Out&) { c.x.q.data = nullptr; }));
    EXPECT_TRUE(refused({"maxsim", "d", "null"}, [](MaxsimCase& c, Out&) { c.x.d.data = nullptr; }));
    EXPECT_TRUE(refused({"maxsim", "doc_ptr", "null"}, [](MaxsimCase& c, Out&) { c.x.doc_ptr = {}; }));
    EXPECT_TRUE(refused({"maxsim", "score", "null"}, [](MaxsimCase&, Out& out) { out.score = nullptr; }));
    EXPECT_TRUE(refused({"maxsim", "d", "3", "4"}, [](MaxsimCase& c, Out&) { c.x.d.cols = 3; }));
    EXPECT_TRUE(refused({"maxsim", "q", "rows"}, [](MaxsimCase& c, Out&) { c.x.q.rows = 0; }));
    EXPECT_TRUE(refused({"maxsim", "features"}, [](MaxsimCase& c, Out&) { c.x.q.cols = c.x.d.cols = 0; }));
    EXPECT_TRUE(
        refused({"maxsim", "doc_ptr", "1", "2"}, [](MaxsimCase& c, Out&) { c.x.doc_ptr = c.x.doc_ptr.first(1); }));
    EXPECT_TRUE(
        refused({"maxsim", "doc_ptr", "5", "7"}, [](MaxsimCase& c, Out&) { c.x.doc_ptr = c.x.doc_ptr.first(2); }));
    EXPECT_TRUE(refused({"maxsim", "doc_ptr", "1", "0"}, [](MaxsimCase& c, Out&) { c.ptr[0] = 1; }));
    EXPECT_TRUE(refused({"maxsim", "doc_ptr", "7", "empty"}, [](MaxsimCase& c, Out&) { c.ptr[1] = 7; }));
    EXPECT_TRUE(refused({"maxsim", "doc_ptr", "9", "7"}, [](MaxsimCase& c, Out&) { c.ptr[1] = 9; }));
    EXPECT_TRUE(refused({"maxsim", "score", "q"}, [](MaxsimCase& c, Out& out) { out.score = c.q.data(); }));
    EXPECT_TRUE(refused({"maxsim", "argmax", "doc_ptr"}, [](MaxsimCase& c, Out& out) { out.argmax = c.ptr.data(); }));
    const float nan = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(refused({"maxsim", "floor", "finite"}, [](MaxsimCase&, Out&) {}, {.floor = nan}));
    EXPECT_TRUE(refused({"maxsim", "d", "nan"}, [&](MaxsimCase& c, Out&) { c.d[5] = nan; }, {.check_data = true}));
}

}  // namespace
}  // namespace attenta_test
