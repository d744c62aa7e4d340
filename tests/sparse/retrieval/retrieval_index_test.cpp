#include <attenta/core/checksum.hpp>
#include <attenta/sparse/retrieval/retrieval_index.hpp>

#include <cstring>
#include <set>

#include "sparse/support/mechanism.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/paged.hpp"

namespace attenta_test {
namespace {

using attenta::HeadKeys, attenta::IndexSearchOptions, attenta::RetrievalIndex, attenta::RetrievalIndexOptions;
using List = std::vector<std::int64_t>;

/// The definition, step by step, on sorted vectors.
class NaiveIndex {
public:
    NaiveIndex(View keys, View train, const RetrievalIndexOptions& o) : keys_(keys), options_(o) {
        const auto n = static_cast<std::size_t>(keys.tokens);
        entry = nearest_to_mean();
        std::vector<List> projected(n);
        for (std::int64_t q = 0; q < train.tokens; ++q) project(train.row(0, q), projected);
        std::vector<List> extra = projected;
        for (std::size_t i = 0; i < n; ++i) {
            List expanded;
            const auto key = static_cast<std::int64_t>(i);
            search(keys.row(0, key), extra, o.build_queue, key, &expanded);
            std::erase_if(expanded, [&](std::int64_t m) { return has(projected[i], m); });
            extra[i] = prune(key, expanded, o.degree, false);
            for (const std::int64_t m : List(extra[i])) link(extra, m, key, 2 * o.degree);
        }
        graph = projected;
        for (std::size_t i = 0; i < n; ++i)
            for (const std::int64_t m : extra[i])
                if (!has(projected[i], m)) graph[i].push_back(m);
    }

    /// The queue at the end; `scanned` is how many scores were taken.
    List search(const float* q, const std::vector<List>& g, std::int64_t size, std::int64_t skip, List* expanded,
                std::int64_t* scanned = nullptr) const {
        std::set<std::int64_t> seen = {entry, skip}, done;
        List queue = {entry};
        std::int64_t scores = 1;
        for (;;) {
            const auto open = std::find_if(queue.begin(), queue.end(), [&](auto n) { return done.count(n) == 0; });
            if (open == queue.end()) break;
            const std::int64_t n = *open;
            done.insert(n);
            for (const std::int64_t m : g[static_cast<std::size_t>(n)])
                if (seen.insert(m).second) {
                    ++scores;
                    queue.push_back(m);
                }
            sort_by(queue, q);
            queue.resize(std::min(queue.size(), static_cast<std::size_t>(size)));
        }
        if (expanded) expanded->assign(done.begin(), done.end());
        if (scanned) *scanned = scores;
        return queue;
    }

    std::int64_t entry = 0;
    std::vector<List> graph;

private:
    static bool has(const List& list, std::int64_t x) { return std::find(list.begin(), list.end(), x) != list.end(); }
    double dot(const float* x, std::int64_t key) const { return naive_dot(x, keys_.row(0, key), keys_.dim); }

    void sort_by(List& list, const float* x) const {
        std::vector<std::pair<double, std::int64_t>> order;
        for (const std::int64_t n : list) order.emplace_back(-dot(x, n), n);
        std::sort(order.begin(), order.end());
        for (std::size_t i = 0; i < list.size(); ++i) list[i] = order[i].second;
    }

    std::int64_t nearest_to_mean() const {
        std::vector<double> mean(static_cast<std::size_t>(keys_.dim)), distance;
        for (std::int64_t j = 0; j < keys_.tokens; ++j)
            for (std::size_t c = 0; c < mean.size(); ++c)
                mean[c] += double{keys_.row(0, j)[c]} / static_cast<double>(keys_.tokens);
        for (std::int64_t j = 0; j < keys_.tokens; ++j) {
            double d = 0;
            for (std::size_t c = 0; c < mean.size(); ++c) d += std::pow(double{keys_.row(0, j)[c]} - mean[c], 2);
            distance.push_back(d);
        }
        return std::min_element(distance.begin(), distance.end()) - distance.begin();
    }

    List prune(std::int64_t node, const List& candidates, std::int64_t limit, bool fill) const {
        std::set<std::int64_t> once(candidates.begin(), candidates.end());
        once.erase(node);
        List order(once.begin(), once.end()), taken, skipped;
        sort_by(order, keys_.row(0, node));
        for (const std::int64_t c : order) {
            if (std::ssize(taken) == limit) break;
            const double close = dot(keys_.row(0, node), c);
            const bool closer =
                std::any_of(taken.begin(), taken.end(), [&](auto r) { return dot(keys_.row(0, r), c) > close; });
            (closer ? skipped : taken).push_back(c);
        }
        for (std::size_t i = 0; fill && i < skipped.size() && std::ssize(taken) < limit; ++i)
            taken.push_back(skipped[i]);
        return taken;
    }

    void link(std::vector<List>& g, std::int64_t from, std::int64_t to, std::int64_t cap) const {
        List& list = g[static_cast<std::size_t>(from)];
        if (has(list, to)) return;
        list.push_back(to);
        if (std::ssize(list) > cap) list = prune(from, list, cap, true);
    }

    void project(const float* q, std::vector<List>& g) const {
        List near = range(0, keys_.tokens);
        sort_by(near, q);
        near.resize(std::min(near.size(), static_cast<std::size_t>(options_.query_neighbours)));
        List& own = g[static_cast<std::size_t>(near[0])];
        List all = own;
        all.insert(all.end(), near.begin() + 1, near.end());
        own = prune(near[0], all, options_.degree, true);
        for (const std::int64_t n : List(own)) link(g, n, near[0], options_.degree);
    }

    View keys_;
    RetrievalIndexOptions options_;
};

/// Keys in clusters; queries around the clusters, too, but stretched and shifted.
struct Data {
    Data(std::int64_t n, std::int64_t m, std::int64_t q, std::int64_t dim, std::uint64_t seed)
        : keys(1, n, dim), train(1, m, dim), queries(1, q, dim) {
        Random random(seed);
        const Tensor<float> centre = random_tensor(random, 1, 12, dim);
        const auto draw = [&](const Tensor<float>& to, float noise, bool shifted) {
            to.each_row([&](float* row, std::int64_t, std::int64_t) {
                const float* const c = centre.row(0, random.integer(0, 11));
                for (std::int64_t d = 0; d < dim; ++d) {
                    const float x = c[shifted ? dim - 1 - d : d];
                    row[d] = (shifted ? 0.7f * x + (d % 3 == 0 ? 0.6f : 0.f) : x) + noise * random.normal();
                }
            });
        };
        draw(keys, 0.5f, false);
        draw(train, 0.4f, true);
        draw(queries, 0.4f, true);
    }
    HeadKeys head_keys(std::int64_t begin = 0, std::int64_t end = -1) const {
        const View k = keys.view();
        return {.kv = KvView::of(k, k), .begin = begin, .end = end < 0 ? k.tokens : end};
    }
    attenta::Matrices<const float> train_queries() const {
        return {train.view().data, 1, train.view().tokens, train.view().dim};
    }
    /// Keys of the largest products, best first.
    List exact(std::int64_t query, std::int64_t n) const {
        List order = range(0, keys.view().tokens);
        const auto score = [&](std::int64_t j) {
            return naive_dot(queries.row(0, query), keys.row(0, j), keys.view().dim);
        };
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score(a) > score(b); });
        order.resize(static_cast<std::size_t>(n));
        return order;
    }

    Tensor<float> keys, train, queries;
};

constexpr RetrievalIndexOptions small = {.degree = 8, .query_neighbours = 20, .build_queue = 24};

struct Search {
    std::vector<std::int64_t> found, scanned;
    bool operator==(const Search&) const = default;
};

Search search(const RetrievalIndex& index, View q, const IndexSearchOptions& o, Context& context) {
    Search s{std::vector<std::int64_t>(static_cast<std::size_t>(q.heads * q.tokens * o.top_k)),
             std::vector<std::int64_t>(static_cast<std::size_t>(q.heads * q.tokens))};
    index.search(q, o, s.found.data(), context, s.scanned.data());
    return s;
}

double recall(const RetrievalIndex& index, const Data& data, const IndexSearchOptions& o) {
    Context context;
    const Search s = search(index, data.queries.view(), o, context);
    std::int64_t hits = 0;
    for (std::int64_t n = 0; n < data.queries.view().tokens; ++n)
        for (const std::int64_t j : data.exact(n, o.top_k))
            hits += std::count(s.found.begin() + n * o.top_k, s.found.begin() + (n + 1) * o.top_k, j);
    return static_cast<double>(hits) / static_cast<double>(s.found.size());
}

std::vector<std::byte> saved(const RetrievalIndex& index) {
    std::vector<std::byte> bytes(index.saved_bytes());
    index.save(bytes);
    return bytes;
}

TEST(RetrievalIndex, IsItsDefinition) {
    const IndexSearchOptions o{.top_k = 7, .search_queue = 15};
    struct Case {
        std::int64_t keys, train, dim;
        RetrievalIndexOptions options;
    };
    for (const Case& x : {Case{260, 60, 24, small}, Case{150, 0, 19, small}, Case{1, 3, 5, small},
                          Case{12, 4, 40, {.degree = 1, .query_neighbours = 2, .build_queue = 1}},
                          Case{90, 200, 33, {.degree = 3, .query_neighbours = 100, .build_queue = 500}}}) {
        const Data data(x.keys, x.train, 20, x.dim, 7);
        const NaiveIndex want(data.keys.view(), data.train.view(), x.options);
        Search naive;
        for (std::int64_t n = 0; n < 20; ++n) {
            List queue = want.search(data.queries.row(0, n), want.graph, o.search_queue, -1, nullptr,
                                     &naive.scanned.emplace_back());
            queue.resize(static_cast<std::size_t>(o.top_k), -1);
            queue.resize(static_cast<std::size_t>(o.top_k));
            naive.found.insert(naive.found.end(), queue.begin(), queue.end());
        }
        on_every_isa([&](Context& context) {
            const RetrievalIndex index(data.head_keys(), data.train_queries(), x.options, context);
            EXPECT_EQ(index.entry(), want.entry);
            EXPECT_TRUE(search(index, data.queries.view(), o, context) == naive) << x.keys << " keys";
        });
    }
}

TEST(RetrievalIndex, FindsMostKeysAndLooksAtFew) {
    const Data data(1500, 300, 40, 32, 3);
    const RetrievalIndex index(data.head_keys(), data.train_queries(),
                               {.degree = 16, .query_neighbours = 50, .build_queue = 64});
    const IndexSearchOptions o{.top_k = 10, .search_queue = 48};
    Context context;
    EXPECT_GT(recall(index, data, o), 0.9);
    std::int64_t scanned = 0;
    for (const std::int64_t n : search(index, data.queries.view(), o, context).scanned) scanned += n;
    EXPECT_LT(scanned, 40 * 1500 / 3);
    EXPECT_GE(recall(index, data, {.top_k = 10, .search_queue = 200}), recall(index, data, o));
}

/// Keys of a head of pages of halves: the index keeps halves without loss.
TEST(RetrievalIndex, ReadsAnyCache) {
    const Data data(200, 40, 20, 24, 5);
    Tensor<float> two(2, 210, 24);
    Random random(1);
    two.each_row([&](float* row, std::int64_t, std::int64_t) { std::fill_n(row, 24, random.normal()); });
    const auto halves = converted<float>(converted<attenta::bfloat16>(data.keys.view()).view());
    for (std::int64_t j = 0; j < 200; ++j) std::copy_n(halves.row(0, j), 24, two.row(1, 3 + j));
    const PagedPool<attenta::bfloat16> pool({{two.view(), two.view()}}, 16, PageLayout::token_head);
    const IndexSearchOptions o{.top_k = 5, .search_queue = 20};
    Context context;
    const View k = halves.view();
    RetrievalIndexOptions options = small;
    const RetrievalIndex want({.kv = KvView::of(k, k), .end = 200}, data.train_queries(), options);
    options.storage = attenta::Dtype::bf16;
    const RetrievalIndex got({.kv = pool.view(), .head = 1, .begin = 3, .end = 203}, data.train_queries(), options);
    EXPECT_TRUE(search(want, data.queries.view(), o, context) == search(got, data.queries.view(), o, context));
    EXPECT_LT(got.saved_bytes() + 200 * 24, want.saved_bytes());
    EXPECT_TRUE(search(RetrievalIndex::load(saved(got)), data.queries.view(), o, context) ==
                search(got, data.queries.view(), o, context));
}

/// Two thirds of the keys later, one by one as they leave a window.
TEST(RetrievalIndex, FindsKeysThatCameLater) {
    const Data data(900, 200, 40, 24, 11);
    const RetrievalIndexOptions options{.degree = 12, .query_neighbours = 30, .build_queue = 48};
    const IndexSearchOptions o{.top_k = 10, .search_queue = 48};
    RetrievalIndex index(data.head_keys(0, 300), data.train_queries(), options);
    for (std::int64_t j = 300; j < 600; ++j) index.insert(data.head_keys(j, j + 1));
    index.insert(data.head_keys(600, 600));
    index.insert(data.head_keys(600, 900));
    EXPECT_EQ(index.keys(), 900);
    const double whole = recall(RetrievalIndex(data.head_keys(), data.train_queries(), options), data, o);
    EXPECT_GT(recall(index, data, o), whole - 0.1);
}

TEST(RetrievalIndex, IsSavedAndLoaded) {
    const Data data(220, 50, 20, 21, 4);
    RetrievalIndex index(data.head_keys(0, 200), data.train_queries(), small);
    RetrievalIndex loaded = RetrievalIndex::load(saved(index));
    const IndexSearchOptions o{.top_k = 5, .search_queue = 20};
    Context context;
    EXPECT_EQ(loaded.entry(), index.entry());
    EXPECT_EQ(saved(loaded), saved(index));
    index.insert(data.head_keys(200, 220));
    loaded.insert(data.head_keys(200, 220));
    EXPECT_EQ(saved(loaded), saved(index));
    EXPECT_TRUE(search(index, data.queries.view(), o, context) == search(loaded, data.queries.view(), o, context));
    // Bytes that stand at an odd address.
    std::vector<std::byte> shifted(1);
    const std::vector<std::byte> bytes = saved(index);
    shifted.insert(shifted.end(), bytes.begin(), bytes.end());
    EXPECT_EQ(saved(RetrievalIndex::load(std::span(shifted).subspan(1))), bytes);
}

TEST(RetrievalIndexErrors, DamagedBytes) {
    const Data data(40, 10, 1, 6, 4);
    const std::vector<std::byte> good =
        saved(RetrievalIndex(data.head_keys(), data.train_queries(), {.degree = 2, .query_neighbours = 5}));
    for (std::size_t n = 0; n < good.size(); ++n)
        EXPECT_THROW(RetrievalIndex::load(std::span(good).first(n)), attenta::Error) << n << " bytes";
    std::vector<std::byte> bad = good;
    bad.push_back(std::byte{0});
    EXPECT_THROW(RetrievalIndex::load(bad), attenta::Error);
    for (std::size_t i = 0; i < good.size(); ++i)
        for (const unsigned change : {1u, 0x80u, 0xffu}) {
            bad = good;
            bad[i] ^= static_cast<std::byte>(change);
            EXPECT_THROW(RetrievalIndex::load(bad), attenta::Error) << "byte " << i;
        }
}

/// Damage whose checksum is right: a header of eight-byte numbers, the checksum the second.
TEST(RetrievalIndexErrors, ForgedBytes) {
    const Data data(40, 10, 1, 6, 4);
    const std::vector<std::byte> good =
        saved(RetrievalIndex(data.head_keys(), data.train_queries(), {.degree = 2, .query_neighbours = 5}));
    constexpr std::size_t header = 80, sum_at = 8;
    const auto forged = [&](std::size_t at, auto number) {
        std::vector<std::byte> bytes = good;
        std::memcpy(bytes.data() + at, &number, sizeof number);
        std::uint64_t sum = 0;
        std::memcpy(bytes.data() + sum_at, &sum, sizeof sum);
        const std::span<const std::byte> all = bytes;
        sum = attenta::detail::checksum(all.subspan(header), attenta::detail::checksum(all.first(header)));
        std::memcpy(bytes.data() + sum_at, &sum, sizeof sum);
        return bytes;
    };
    EXPECT_EQ(forged(0, good[0]), good);
    for (std::size_t at = 0; at < header; at += 8)
        for (const std::int64_t number :
             {std::int64_t{-1}, std::int64_t{1} << 40, std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()})
            if (at != sum_at && at < 64) {  // the last two are limits that may be any number
                EXPECT_THROW(RetrievalIndex::load(forged(at, number)), attenta::Error) << at << ": " << number;
            }
    const std::size_t counts = header + 40 * 6 * sizeof(float), links = counts + 40 * sizeof(std::int32_t);
    for (const std::int32_t number : {-1, 7, 1 << 30}) {
        EXPECT_THROW(RetrievalIndex::load(forged(counts, number)), attenta::Error) << number;
        EXPECT_THROW(RetrievalIndex::load(forged(counts + 39 * 4, number)), attenta::Error) << number;
    }
    for (const std::int32_t number : {-1, 40, 1 << 30})
        EXPECT_THROW(RetrievalIndex::load(forged(links, number)), attenta::Error) << number;
    EXPECT_THROW(RetrievalIndex::load(forged(header, std::nanf(""))), attenta::Error);
}

TEST(RetrievalIndexErrors, BadInput) {
    const Data data(40, 10, 3, 6, 4);
    const auto train = data.train_queries();
    const auto refused = [&](std::initializer_list<std::string_view> words, HeadKeys keys,
                             attenta::Matrices<const float> queries, const RetrievalIndexOptions& o) {
        return refuses([&] { RetrievalIndex(keys, queries, o); }, words);
    };
    const HeadKeys keys = data.head_keys();
    EXPECT_TRUE(refused({"RetrievalIndex", "degree", "0", "1"}, keys, train, {.degree = 0}));
    EXPECT_TRUE(refused({"RetrievalIndex", "degree"}, keys, train, {.degree = std::int64_t{1} << 60}));
    EXPECT_TRUE(refused({"RetrievalIndex", "query_neighbours", "1", "2"}, keys, train, {.query_neighbours = 1}));
    EXPECT_TRUE(refused({"RetrievalIndex", "build_queue", "0", "1"}, keys, train, {.build_queue = 0}));
    EXPECT_TRUE(refused({"RetrievalIndex", "keys", "none"}, data.head_keys(3, 3), train, {}));
    EXPECT_TRUE(refused({"RetrievalIndex", "keys", "41", "40"}, data.head_keys(3, 41), train, {}));
    HeadKeys other = keys;
    other.head = 1;
    EXPECT_TRUE(refused({"RetrievalIndex", "head", "1"}, other, train, {}));
    other = keys;
    other.kv.sequences = 2;
    EXPECT_TRUE(refused({"RetrievalIndex", "2", "sequences"}, other, train, {}));
    other = keys;
    other.kv.k.data = nullptr;
    EXPECT_TRUE(refused({"RetrievalIndex", "keys", "null"}, other, train, {}));
    attenta::Matrices<const float> narrow = train;
    narrow.cols = 5;
    EXPECT_TRUE(refused({"RetrievalIndex", "train_queries", "5", "6"}, keys, narrow, {}));
    data.train.row(0, 7)[2] = std::nanf("");
    EXPECT_TRUE(refused({"RetrievalIndex", "train_queries", "nan", "7", "2"}, keys, train, {}));
    data.train.row(0, 7)[2] = 0;
    RetrievalIndex index(keys, train, small);
    const std::vector<std::byte> before = saved(index);
    data.keys.row(0, 39)[5] = std::numeric_limits<float>::infinity();
    EXPECT_TRUE(refused({"RetrievalIndex", "keys", "inf", "39", "5"}, keys, train, {}));
    EXPECT_TRUE(refuses([&] { index.insert(keys); }, {"insert", "keys", "inf"}));
    EXPECT_EQ(saved(index), before);
    std::vector<std::byte> bytes(before.size() - 1);
    EXPECT_TRUE(refuses([&] { index.save(bytes); }, {"save"}));
    RetrievalIndex empty;
    EXPECT_TRUE(refuses([&] { empty.save(bytes); }, {"save", "keys"}));
    EXPECT_TRUE(refuses([&] { empty.insert(keys); }, {"insert", "keys"}));
}

TEST(RetrievalIndexErrors, BadSearches) {
    const Data data(40, 10, 3, 6, 4);
    const RetrievalIndex index(data.head_keys(), data.train_queries(), small);
    std::vector<std::int64_t> found(3 * 4, 77);
    const auto refused = [&](std::initializer_list<std::string_view> words, View q, const IndexSearchOptions& o) {
        return refuses([&] { index.search(q, o, found.data()); }, words);
    };
    View q = data.queries.view();
    EXPECT_TRUE(refused({"search", "top_k", "0", "1"}, q, {.top_k = 0}));
    EXPECT_TRUE(refused({"search", "search_queue", "3", "4"}, q, {.top_k = 4, .search_queue = 3}));
    q.dim = 5;
    EXPECT_TRUE(refused({"search", "q", "5", "6"}, q, {.top_k = 4}));
    EXPECT_TRUE(
        refuses([&] { index.search(data.queries.view(), {.top_k = 4}, nullptr); }, {"search", "found", "null"}));
    data.queries.row(0, 2)[1] = std::nanf("");
    EXPECT_TRUE(refused({"search", "q", "nan", "2"}, data.queries.view(), {.top_k = 4}));
    EXPECT_TRUE(refuses([&] { RetrievalIndex().search(data.queries.view(), {.top_k = 4}, found.data()); }, {"search"}));
    EXPECT_EQ(std::count(found.begin(), found.end(), 77), 12);
    const std::vector<RetrievalIndex> indexes(2, index);
    EXPECT_TRUE(refuses([&] { attenta::search_indexes(indexes, data.queries.view(), 0, {.top_k = 4}, found.data()); },
                        {"search_indexes", "2", "1"}));
}

/// With a queue for all keys the lists are those of the exact search, and so is attention.
TEST(RetrievalIndex, GivesTheListsOfRetrieval) {
    const Data data(130, 40, 3, 16, 8);
    Random random(6);
    const Tensor<float> q = random_tensor(random, 4, 1, 16), k = random_tensor(random, 2, 130, 16);
    attenta::RetrievalInputs x{.q = q.view(), .kv = KvView::of(View(k.view()), View(k.view()))};
    const attenta::RetrievalOptions options{.sink = 4, .window = 9, .top_k = 6};
    std::vector<RetrievalIndex> indexes;
    for (std::int64_t h = 0; h < 2; ++h)
        indexes.emplace_back(HeadKeys{.kv = x.kv, .head = h, .begin = 4, .end = 121}, data.train_queries(), small);
    KeyLists want, got;
    attenta::retrieval_lists(x, want, options);
    attenta::retrieval_lists(indexes, 130, x, got, options);
    EXPECT_EQ(got.text(1000), want.text(1000));
    std::vector<std::int64_t> found(4 * 6);
    attenta::search_indexes(indexes, x.q, 4, {.top_k = 6, .search_queue = 130}, found.data());
    x.found = attenta::hnd(std::as_const(found).data(), 4, 1, 6);
    Output out(4, 1, 16);
    std::vector<float> recall(4);
    attenta::RetrievalOutputs to;
    to.o = out.o.view();
    to.recall = recall.data();
    attenta::retrieval(x, to, options);
    EXPECT_EQ(recall, std::vector<float>(4, 1.f));
    attenta::retrieval_lists(indexes, 130, x, got, {.sink = 4, .window = 9, .top_k = 0});
    EXPECT_EQ(got.runs(0).size(), 2u);
}

}  // namespace
}  // namespace attenta_test
