#include <attenta/sparse/retrieval/retrieval.hpp>

#include <set>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"

namespace attenta_test {
namespace {

using attenta::RetrievalInputs, attenta::RetrievalOptions, attenta::RetrievalOutputs;

/// The top_k of sink <= j <= i − window by q·k.
Keys retrieved(const RetrievalInputs& x, const RetrievalOptions& options, std::int64_t h, std::int64_t row) {
    const View k = k_of(x.kv);
    const std::int64_t i = k.tokens - x.q.tokens + row, kv_head = h / (x.q.heads / k.heads);
    std::vector<double> score(static_cast<std::size_t>(k.tokens), minus_infinity);
    for (std::int64_t j = options.sink; j <= i - options.window; ++j)
        score[static_cast<std::size_t>(j)] = naive_dot(x.q.row(h, row), k.row(kv_head, j), k.dim);
    return best(score, options.top_k);
}

/// S, and with it R, or what was found of the keys outside of S up to the query.
Keys read_keys(const RetrievalInputs& x, const RetrievalOptions& options, std::int64_t h, std::int64_t row,
               bool others = true) {
    const std::int64_t i = x.kv.length(0) - x.q.tokens + row;
    std::set<std::int64_t> keys;
    for (std::int64_t j = 0; j <= i; ++j)
        if (j < options.sink || j > i - options.window) keys.insert(j);
    if (!others) return {keys.begin(), keys.end()};
    if (!options.read_found)
        for (const std::int64_t j : retrieved(x, options, h, row)) keys.insert(j);
    for (std::int64_t n = 0; options.read_found && n < x.found.dim; ++n)
        if (const std::int64_t j = x.found.row(h, row)[n]; j >= 0 && j <= i) keys.insert(j);
    return {keys.begin(), keys.end()};
}

Naive naive_retrieval(const RetrievalInputs& x, const RetrievalOptions& options) {
    return naive_over(x.q, x.kv, naive_scale(options.scale, x.q.dim),
                      [&](std::int64_t h, std::int64_t row) { return read_keys(x, options, h, row); });
}

RetrievalOptions& options(SparseCase& c) { return options_of<RetrievalOptions>(c); }

/// n keys of the whole cache, some twice, some -1.
void find(SparseCase& c, std::int64_t n) {
    Integers found{c.shape.Hq, c.shape.Tq, n, {}};
    for (std::int64_t i = 0; i < c.shape.Hq * c.shape.Tq * n; ++i)
        found.data.push_back(c.random.integer(-1, c.shape.Tk - 1));
    c.put_integers("found", std::move(found));
}

/// The exact search, not that of an index.
constexpr void (*lists_of)(const RetrievalInputs&, KeyLists&, const RetrievalOptions&,
                           Context&) = attenta::retrieval_lists;

const auto& mechanism = test_sparse<&attenta::retrieval, naive_retrieval>({
    .name = "retrieval",
    .variants = {{"no sink, own key alone", [](SparseCase& c) { options(c).sink = 0, options(c).window = 1; }},
                 {"nothing retrieved", [](SparseCase& c) { options(c).top_k = 0; }},
                 {"one key retrieved", [](SparseCase& c) { options(c).top_k = 1; }},
                 {"sinks beyond all keys", [](SparseCase& c) { options(c).sink = 1000; }},
                 {"what was found", [](SparseCase& c) { options(c).read_found = true; }}},
    .sizes = [](SparseCase& c) { options(c) = {.sink = 3, .window = 6, .top_k = 7}; },
    .fill =
        [](SparseCase& c) {
            if (options(c).read_found) find(c, 9);
        },
    .everything = [](SparseCase& c) { options(c).top_k = 4096; },
    .outputs = {{"o_static", set_output<&attenta::RetrievalOutputs::o_static>},
                {"lse_static", set_output<&attenta::RetrievalOutputs::lse_static>}},
    .select = Selection<lists_of>::call,
});

/// o and lse of S alone, and the recall of what was found.
TEST(Retrieval, GivesTheStaticPartAndTheRecall) {
    for (const bool read_found : {false, true}) {
        SparseCase c = sparse_case(mechanism, {4, 2, 23, 60, 16, 24});
        find(c, 30);
        options(c).read_found = read_found;
        const auto x = inputs_of<RetrievalInputs>(c);
        Output all = output_of(c), fixed = output_of(c, Order::token_head, 3);
        std::vector<float> recall(4 * 23);
        RetrievalOutputs out;
        out.o = all.o.view();
        out.lse = all.lse.data();
        out.o_static = fixed.o.view();
        out.lse_static = fixed.lse.data();
        out.recall = recall.data();
        attenta::retrieval(x, out, options(c));
        EXPECT_TRUE(close(all, naive_retrieval(x, options(c))));
        EXPECT_TRUE(close(fixed, naive_over(x.q, x.kv, naive_scale({}, 16), [&](std::int64_t h, std::int64_t row) {
                              return read_keys(x, options(c), h, row, false);
                          })));
        for (std::int64_t h = 0; h < 4; ++h)
            for (std::int64_t t = 0; t < 23; ++t) {
                const Keys exact = retrieved(x, options(c), h, t);
                const std::set<std::int64_t> found(x.found.row(h, t), x.found.row(h, t) + 30);
                double hits = 0;
                for (const std::int64_t j : exact) hits += static_cast<double>(found.count(j));
                const double want = exact.empty() ? 1 : hits / static_cast<double>(exact.size());
                EXPECT_FLOAT_EQ(recall[static_cast<std::size_t>(h * 23 + t)], static_cast<float>(want));
            }
    }
}

TEST(Retrieval, GivesTheStaticLseAlone) {
    SparseCase c = sparse_case(mechanism, {4, 2, 5, 60, 16, 24});
    Output all = output_of(c);
    std::vector<float> lse(4 * 5);
    RetrievalOutputs out;
    out.o = all.o.view();
    out.lse_static = lse.data();
    attenta::retrieval(inputs_of<RetrievalInputs>(c), out, options(c));
    RetrievalOptions none = options(c);
    none.top_k = 0;
    const Naive want = naive_retrieval(inputs_of<RetrievalInputs>(c), none);
    for (std::size_t i = 0; i < lse.size(); ++i) EXPECT_NEAR(lse[i], want.lse[i], 1e-4);
}

TEST(RetrievalErrors, Options) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 57, 16, 16});
    find(c, 4);
    const auto x = inputs_of<RetrievalInputs>(c);
    KeyLists lists;
    const auto refused = [&](std::initializer_list<std::string_view> words, const RetrievalInputs& in,
                             const RetrievalOptions& o) {
        return refuses([&] { attenta::retrieval_lists(in, lists, o); }, words);
    };
    EXPECT_TRUE(refused({"retrieval", "sink", "-1", "0"}, x, {.sink = -1}));
    EXPECT_TRUE(refused({"retrieval", "window", "0", "1"}, x, {.window = 0}));
    EXPECT_TRUE(refused({"retrieval", "top_k", "-1", "0"}, x, {.top_k = -1}));
    RetrievalInputs without = x;
    without.found = {};
    EXPECT_TRUE(refused({"retrieval", "found", "null"}, without, {.read_found = true}));
    RetrievalInputs narrow = x;
    narrow.found.tokens = 2;
    EXPECT_TRUE(refused({"retrieval", "found", "2", "3"}, narrow, {}));
    for (const std::int64_t key : {std::int64_t{-2}, std::int64_t{57}}) {
        const_cast<std::int64_t*>(x.found.row(1, 1))[2] = key;
        EXPECT_TRUE(refused({"retrieval", "found", std::to_string(key), "56"}, x, {}));
    }
}

TEST(RetrievalErrors, Outputs) {
    SparseCase c = sparse_case(mechanism, {4, 2, 3, 57, 16, 16});
    const auto x = inputs_of<RetrievalInputs>(c);
    Output all = output_of(c);
    const auto refused = [&](std::initializer_list<std::string_view> words, auto&& spoil) {
        RetrievalOutputs out;
        out.o = all.o.view();
        spoil(out);
        return refuses([&] { attenta::retrieval(x, out, options(c)); }, words);
    };
    std::vector<float> memory(4 * 3 * 16);
    EXPECT_TRUE(refused({"retrieval", "found", "null"}, [&](auto& out) { out.recall = memory.data(); }));
    EXPECT_TRUE(refused({"retrieval", "o", "15", "16"},
                        [&](auto& out) { out.o_static = attenta::hnd(memory.data(), 4, 3, 15); }));
    EXPECT_TRUE(refused({"retrieval", "o", "overlaps"}, [&](auto& out) { out.o_static = out.o; }));
    find(c, 4);
    const auto with = inputs_of<RetrievalInputs>(c);
    RetrievalOutputs out;
    out.o = all.o.view();
    for (void* const taken :
         {static_cast<void*>(all.o.view().data), static_cast<void*>(c.integers["found"].data.data())}) {
        out.recall = static_cast<float*>(taken);
        EXPECT_TRUE(refuses([&] { attenta::retrieval(with, out, options(c)); }, {"retrieval", "recall", "overlaps"}));
    }
    EXPECT_TRUE(all.o.padding_is_untouched());
    const float fresh = untouched<float>();
    for (const float y : all.o.memory()) EXPECT_TRUE(same_bits(&y, &fresh, 1));
}

}  // namespace
}  // namespace attenta_test
