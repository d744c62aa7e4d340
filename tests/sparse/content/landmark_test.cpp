#include <attenta/sparse/content/landmark.hpp>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"

namespace attenta_test {
namespace {

using attenta::LandmarkInputs, attenta::LandmarkOptions, attenta::LandmarkRetrieval;

Naive naive_landmark(const LandmarkInputs& x, const LandmarkOptions& o) {
    const View k = k_of(x.kv), v = v_of(x.kv);
    const double scale = naive_scale(o.scale, x.q.dim);
    const std::int64_t size = o.block_size, first = k.tokens - x.q.tokens;
    Naive result = naive_result(x.q, x.kv);
    for (std::int64_t h = 0; h < x.q.heads; ++h) {
        const std::int64_t kv_head = h / (x.q.heads / k.heads);
        const auto score = [&](std::int64_t row, std::int64_t j) {
            return scale * naive_dot(x.q.row(h, row), k.row(kv_head, j), k.dim);
        };
        const auto marks = [&](std::int64_t row) {
            std::vector<double> s;
            for (std::int64_t b = 0; b < (first + row) / size; ++b) s.push_back(score(row, (b + 1) * size - 1));
            return s;
        };
        std::vector<double> most;  // weight of each landmark over all queries
        for (std::int64_t row = 0; row < x.q.tokens && o.retrieval == LandmarkRetrieval::max_over_tokens; ++row) {
            const std::vector<double> s = marks(row);
            most.resize(s.size());
            double sum = 0;
            for (const double y : s) sum += std::exp(y);
            for (std::size_t b = 0; b < s.size(); ++b) most[b] = std::max(most[b], std::exp(s[b]) / sum);
        }
        for (std::int64_t row = 0; row < x.q.tokens; ++row) {
            const std::int64_t i = first + row, own = i / size;
            const bool per_head = o.retrieval == LandmarkRetrieval::max_over_tokens;
            const Keys blocks = o.top_k ? best(per_head ? most : marks(row), *o.top_k) : range(0, own);
            NaiveRow to;
            std::deque<std::vector<float>> values;
            for (const std::int64_t j : range(own * size, i + 1))
                if (j % size != size - 1) to.add(score(row, j), v.row(kv_head, j));
            for (const std::int64_t b : blocks) {
                NaiveRow inside;
                for (const std::int64_t j : range(b * size, b * size + size - 1))
                    inside.add(score(row, j), v.row(kv_head, j));
                Naive value{1, 1, v.dim, std::vector<double>(static_cast<std::size_t>(v.dim)), {0.0}};
                inside.finish(value, 0, 0);
                values.emplace_back(value.o.begin(), value.o.end());
                to.add(score(row, b * size + size - 1), values.back().data());
            }
            to.finish(result, h, row);
        }
    }
    return result;
}

LandmarkOptions& options(SparseCase& c) { return options_of<LandmarkOptions>(c); }

const auto& mechanism = test_sparse<&attenta::landmark, naive_landmark>({
    .name = "landmark",
    .variants = {{"blocks of 2", [](SparseCase& c) { options(c).block_size = 2; }},
                 {"blocks of 64", [](SparseCase& c) { options(c).block_size = 64; }},
                 {"one block", [](SparseCase& c) { options(c).block_size = 4096; }},
                 {"top 3", [](SparseCase& c) { options(c).top_k = 3; }},
                 {"top 1 of blocks of 20", [](SparseCase& c) { options(c).top_k = 1, options(c).block_size = 20; }},
                 {"top of all", [](SparseCase& c) { options(c).top_k = 4096; }}},
    .sizes = [](SparseCase& c) { options(c).block_size = 7; },
    .select = Selection<&attenta::landmark_lists>::call,
});

/// Blocks longer than the tiles and parts of the engine, one query and many.
TEST(Landmark, LongBlocks) {
    for (const Shape& s : {Shape{4, 2, 1, 3000, 16, 8}, Shape{4, 2, 30, 1900, 16, 8}})
        for (const std::optional<std::int64_t> top_k : {std::optional<std::int64_t>{}, {1}}) {
            SparseCase c = sparse_case(mechanism, s, 0, 31);
            SCOPED_TRACE(c.words);
            options(c).block_size = 701;
            options(c).top_k = top_k;
            const Naive want = naive(c);
            on_every_isa([&](Context& context) {
                Output got = output_of(c);
                call(c, got, context);
                EXPECT_TRUE(close(got, want));
            });
        }
}

/// Tasks in another order than that of keys: the first pass must not have cut a block in two tasks.
TEST(Landmark, PassesDoNotHangOnTheOrderOfTasks) {
    const auto backwards = [](std::int64_t n, attenta::TaskRef task) {
        for (std::int64_t i = n; i-- > 0;) task(i, 0);
    };
    attenta::ExecutorAdapter executor(2, backwards);
    for (const std::optional<std::int64_t> top_k : {std::optional<std::int64_t>{}, {2}}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 1, 9000, 64, 64}, 0, 32);
        options(c).block_size = 2801;
        options(c).top_k = top_k;
        Context context(executor);
        Output got = output_of(c);
        call(c, got, context);
        EXPECT_TRUE(close(got, naive(c)));
    }
}

/// Numbers of queries and blocks that do not fit at once: ranges of queries.
TEST(Landmark, RangesOfQueries) {
    for (const std::optional<std::int64_t> top_k : {std::optional<std::int64_t>{}, {2}}) {
        SparseCase c = sparse_case(mechanism, {16, 2, 230, 1300, 4, 4}, 0, 33);
        options(c).block_size = 2;
        options(c).top_k = top_k;
        Output got = output_of(c);
        Context context;
        call(c, got, context);
        EXPECT_TRUE(close(got, naive(c)));
    }
}

/// Weights that a softmax of its own must not lose: scores of some hundreds, above and below.
TEST(Landmark, LargeScores) {
    SparseCase c = sparse_case(mechanism, {2, 1, 40, 90, 8, 8}, 0, 35);
    options(c).scale = 40.f;
    Output got = output_of(c);
    Context context;
    call(c, got, context);
    const Naive want = naive(c);
    for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t i = 0; i < 40; ++i)
            for (std::int64_t d = 0; d < 8; ++d)
                EXPECT_NEAR(want.o_row(h, i)[d], double{got.o.view().row(h, i)[d]}, 2e-4);
}

TEST(Landmark, OneChoiceOfAHead) {
    for (const Shape& s : {Shape{4, 2, 1, 61, 16, 16}, Shape{4, 2, 5, 68, 16, 16}, Shape{2, 2, 3, 3, 8, 8}}) {
        SparseCase c = sparse_case(mechanism, s, 0, 37);
        SCOPED_TRACE(c.words);
        options(c).retrieval = LandmarkRetrieval::max_over_tokens;
        options(c).top_k = 2;
        const Naive want = naive(c);
        on_every_isa([&](Context& context) {
            Output got = output_of(c);
            call(c, got, context);
            EXPECT_TRUE(close(got, want));
        });
    }
}

TEST(LandmarkErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 9, 57, 16, 16});
    Output out = output_of(c);
    Context context;
    const auto refused = [&](const LandmarkOptions& o, std::initializer_list<std::string_view> words) {
        options(c) = o;
        return refuses([&] { call(c, out, context); }, words);
    };
    EXPECT_TRUE(refused({.block_size = 1}, {"landmark", "block_size", "1", "2"}));
    EXPECT_TRUE(refused({.top_k = 0}, {"landmark", "top_k", "0", "1"}));
    EXPECT_TRUE(refused({.block_size = 8, .top_k = 2, .retrieval = LandmarkRetrieval::max_over_tokens},
                        {"landmark", "q", "6", "7", "max_over_tokens"}));
    KeyLists lists;
    EXPECT_TRUE(refuses([&] { attenta::landmark_lists(inputs_of<LandmarkInputs>(c), lists, {}); }, {"top_k"}));
}

}  // namespace
}  // namespace attenta_test
