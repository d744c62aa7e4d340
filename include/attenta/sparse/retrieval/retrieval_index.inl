#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/checksum.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>
#include <attenta/sparse/retrieval/retrieval_index.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// A key with its score, in the order of a queue: the best first, of equal ones the lower number.
struct ScoredKey {
    double score;
    std::int32_t key;
    bool expanded = false;

    bool before(const ScoredKey& o) const { return score > o.score || (score == o.score && key < o.key); }
};

/// A best-first search, in scratch that holds any search of the same sizes.
class BestFirst {
public:
    BestFirst(Arena& c, std::int64_t keys, std::int64_t most_queued, std::int64_t neighbours)
        : keys_(keys), most_queued_(std::min(most_queued, keys)) {
        seen_ = c.take<std::uint64_t>(ceil_div(keys, 64));
        queue_ = c.take<ScoredKey>(most_queued_);
        fresh_ = c.take<std::int32_t>(std::min(neighbours, keys));
        scores_ = c.take<double>(std::min(neighbours, keys));
    }
    static std::int64_t bytes(std::int64_t keys, std::int64_t most_queued, std::int64_t neighbours) {
        Arena count(nullptr);
        BestFirst(count, keys, most_queued, neighbours);
        return round_up(count.used(), 64);
    }

    /// dots(keys, to) gives scores. Returns how many were taken. `skip` is never found; expand(key) sees what is expanded.
    template <class Dots, class Expand>
    std::int64_t run(const Neighbours& graph, std::int64_t entry, std::int64_t skip, Dots&& dots, Expand&& expand) {
        std::fill_n(seen_, ceil_div(keys_, 64), std::uint64_t{0});
        if (skip >= 0) is_new(skip);
        is_new(entry);
        count_ = 0;
        fresh_[0] = static_cast<std::int32_t>(entry);
        std::int64_t scored = 0, fresh = 1, next = 0;
        for (;;) {
            dots(std::span<const std::int32_t>(fresh_, static_cast<std::size_t>(fresh)), scores_);
            for (std::int64_t i = 0; i < fresh; ++i) next = std::min(next, insert({scores_[i], fresh_[i]}));
            scored += fresh;
            while (next < count_ && queue_[next].expanded) ++next;
            if (next == count_) return scored;
            queue_[next].expanded = true;
            expand(queue_[next].key);
            fresh = 0;
            for (const std::int32_t key : graph.of(queue_[next].key))
                if (is_new(key)) fresh_[fresh++] = key;
        }
    }
    std::span<const ScoredKey> queue() const { return {queue_, static_cast<std::size_t>(count_)}; }

private:
    bool is_new(std::int64_t key) {
        const std::uint64_t bit = std::uint64_t{1} << (key % 64);
        std::uint64_t& word = seen_[key / 64];
        const bool fresh = (word & bit) == 0;
        word |= bit;
        return fresh;
    }

    /// Its place, or the end of the queue where it is none of the best.
    std::int64_t insert(const ScoredKey& x) {
        ScoredKey* const end = queue_ + count_;
        ScoredKey* const at =
            std::upper_bound(queue_, end, x, [](const ScoredKey& a, const ScoredKey& b) { return a.before(b); });
        if (at == queue_ + most_queued_) return most_queued_;
        count_ = std::min(count_ + 1, most_queued_);
        std::copy_backward(at, queue_ + count_ - 1, queue_ + count_);
        *at = x;
        return at - queue_;
    }

    std::int64_t keys_, most_queued_, count_ = 0;
    std::uint64_t* seen_;
    ScoredKey* queue_;
    std::int32_t* fresh_;
    double* scores_;
};

inline void check_finite_row(const char* f, const char* name, const float* x, std::int64_t row, std::int64_t dim) {
    for (std::int64_t c = 0; c < dim; ++c)
        if (!is_finite(x[c]))
            fail(f, std::string(name) + " are " + std::to_string(x[c]) + " at [" + std::to_string(row) + ", " +
                        std::to_string(c) + "], needs finite numbers");
}

}  // namespace detail

ATTENTA_INLINE RetrievalIndex::RetrievalIndex(const HeadKeys& keys, Matrices<const float> train_queries,
                                              const RetrievalIndexOptions& options, Context& context)
    : options_(options) {
    const char* const f = "RetrievalIndex";
    detail::require_at_least(f, "degree", options.degree, 1);
    detail::require_at_least(f, "query_neighbours", options.query_neighbours, 2);
    detail::require_at_least(f, "build_queue", options.build_queue, 1);
    constexpr std::int64_t most_degree = std::numeric_limits<std::int32_t>::max();
    if (options.degree > most_degree)
        fail(f, "degree is " + std::to_string(options.degree) + ", needs at most " + std::to_string(most_degree));
    if (keys.begin >= keys.end) fail(f, "keys are none, needs at least one");
    if (train_queries.rows > 0 && (!train_queries || train_queries.cols != keys.kv.k.dim))
        fail(f, std::string("train_queries ") +
                    (train_queries ? "have " + std::to_string(train_queries.cols) + " features" : "are null") +
                    ", needs " + std::to_string(keys.kv.k.dim) + " features");
    for (std::int64_t r = 0; r < train_queries.rows; ++r)
        detail::check_finite_row(f, "train_queries", train_queries.row(0, r), r, train_queries.cols);
    table_ = KeyTable(1, keys.kv.k.dim, options.storage);
    graph_ = detail::Neighbours(3 * options.degree);
    append(f, keys);
    find_entry();
    detail::Neighbours projection(options.degree, table_.size());
    project(train_queries, projection, context);
    connect(projection);
}

/// Takes a copy of the keys, which have no neighbours yet.
ATTENTA_INLINE void RetrievalIndex::append(const char* f, const HeadKeys& keys) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    const KvView& kv = keys.kv;
    if (kv.sequences != 1) fail(f, "kv has " + text(kv.sequences) + " sequences, needs one");
    if (!kv.k.data) fail(f, "keys are null, needs a tensor");
    if (kv.k.dim != dim()) fail(f, "keys have " + text(kv.k.dim) + " features, needs " + text(dim()));
    if (keys.head < 0 || keys.head >= kv.heads)
        fail(f, "head is " + text(keys.head) + ", needs one of the " + text(kv.heads) + " of the keys");
    if (keys.begin < 0 || keys.begin > keys.end || keys.end > kv.length(0))
        fail(f,
             "keys are those from " + text(keys.begin) + " to " + text(keys.end) + ", there are " + text(kv.length(0)));
    const std::int64_t n = keys.end - keys.begin;
    if (n > std::numeric_limits<std::int32_t>::max() - table_.size())
        fail(f, "keys are " + text(n) + " more than " + text(table_.size()) + ", needs fewer than 2^31");
    std::vector<float> rows(static_cast<std::size_t>(n * dim()));
    for (std::int64_t j = 0; j < n; ++j) {
        float* const row = rows.data() + j * dim();
        detail::read_key(kv, keys.head, keys.begin + j, row);
        detail::check_finite_row(f, "keys", row, keys.begin + j, dim());
    }
    table_.append(hnd(std::as_const(rows).data(), 1, n, dim()));
    graph_.resize(table_.size());
}

ATTENTA_INLINE const float* RetrievalIndex::row(std::int64_t key, std::vector<float>& buffer) const {
    if (table_.storage() == Dtype::f32) return static_cast<const float*>(table_.view().k.data) + key * dim();
    buffer.resize(static_cast<std::size_t>(dim()));
    table_.get(0, key, buffer.data());
    return buffer.data();
}

ATTENTA_INLINE void RetrievalIndex::dots(const float* x, std::span<const std::int32_t> keys, double* to) const {
    exact_dots()(x, dim(), static_cast<const std::byte*>(table_.view().k.data), table_.storage(), keys.data(),
                 static_cast<std::int64_t>(keys.size()), to);
}

ATTENTA_INLINE void RetrievalIndex::find_entry() {
    std::vector<double> mean(static_cast<std::size_t>(dim()));
    std::vector<float> buffer;
    for (std::int64_t j = 0; j < keys(); ++j)
        for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += double{row(j, buffer)[c]};
    for (double& x : mean) x /= static_cast<double>(keys());
    double nearest = std::numeric_limits<double>::infinity();
    for (std::int64_t j = 0; j < keys(); ++j) {
        const float* const x = row(j, buffer);
        double distance = 0;
        for (std::size_t c = 0; c < mean.size(); ++c) distance += (double{x[c]} - mean[c]) * (double{x[c]} - mean[c]);
        if (distance < nearest) {
            nearest = distance;
            entry_ = j;
        }
    }
}

/// Neighbours in order of closeness. One is skipped where it is closer to a neighbour that is taken already; with `fill`
/// skipped ones complete the list.
ATTENTA_INLINE std::vector<std::int32_t> RetrievalIndex::prune(std::int64_t key, std::vector<std::int32_t> candidates,
                                                               std::int64_t most, bool fill) const {
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    std::erase(candidates, static_cast<std::int32_t>(key));
    std::vector<float> buffer;
    std::vector<double> closeness(candidates.size());
    dots(row(key, buffer), candidates, closeness.data());
    std::vector<detail::ScoredKey> order;
    for (std::size_t i = 0; i < candidates.size(); ++i) order.push_back({closeness[i], candidates[i]});
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.before(b); });
    std::vector<std::int32_t> taken, skipped;
    const auto room = static_cast<std::size_t>(most);
    for (const detail::ScoredKey& c : order) {
        if (taken.size() == room) break;
        dots(row(c.key, buffer), taken, closeness.data());
        const bool closer = std::any_of(closeness.begin(), closeness.begin() + std::ssize(taken),
                                        [&](double x) { return x > c.score; });
        (closer ? skipped : taken).push_back(c.key);
    }
    if (fill) {
        skipped.resize(std::min(skipped.size(), room - taken.size()));
        taken.insert(taken.end(), skipped.begin(), skipped.end());
    }
    return taken;
}

/// A neighbour more, and where there is no room the pruned list with it.
ATTENTA_INLINE void RetrievalIndex::link(detail::Neighbours& graph, std::int64_t from, std::int32_t to) const {
    std::vector<std::int32_t> list = graph.of(from);
    if (std::find(list.begin(), list.end(), to) != list.end()) return;
    list.push_back(to);
    graph.set(from, std::ssize(list) <= graph.most() ? std::move(list) : prune(from, list, graph.most(), true));
}

/// Best keys of training queries become neighbours.
ATTENTA_INLINE void RetrievalIndex::project(Matrices<const float> train_queries, detail::Neighbours& graph,
                                            Context& context) const {
    if (train_queries.rows == 0) return;
    const std::int64_t near = std::min(options_.query_neighbours, keys());
    select::Request r{.function = "RetrievalIndex",
                      .q = {train_queries.data, 1, train_queries.rows, dim(), 0, train_queries.row_stride},
                      .keys = table_.view()};
    constexpr std::int64_t more = 16;  // scores there are floats
    r.visible_keys = r.units = {.count = keys(), .causal = false};
    r.top = std::min(near + more, keys());
    r.cache_keys = keys();
    KeyLists lists;
    select::check(r);
    select::run(r, lists, context);
    std::vector<std::int32_t> best;
    std::vector<double> scores(static_cast<std::size_t>(r.top));
    for (std::int64_t n = 0; n < train_queries.rows; ++n) {
        best.clear();
        for (const KeyRun& run : lists.runs(n))
            for (std::int32_t j = run.start; j < run.start + run.count; ++j) best.push_back(j);
        dots(train_queries.row(0, n), best, scores.data());
        std::vector<detail::ScoredKey> order;
        for (std::size_t i = 0; i < best.size(); ++i) order.push_back({scores[i], best[i]});
        std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.before(b); });
        const std::int32_t pivot = order[0].key;
        best = graph.of(pivot);
        for (std::int64_t i = 1; i < near; ++i) best.push_back(order[static_cast<std::size_t>(i)].key);
        const std::vector<std::int32_t> list = prune(pivot, best, graph.most(), true);
        graph.set(pivot, list);
        for (const std::int32_t key : list) link(graph, key, pivot);
    }
}

/// What a search for a key expands, the key left out.
ATTENTA_INLINE std::vector<std::int32_t> RetrievalIndex::expanded_for(std::int64_t key, const detail::Neighbours& graph,
                                                                      std::vector<std::byte>& scratch) const {
    scratch.resize(static_cast<std::size_t>(detail::BestFirst::bytes(keys(), options_.build_queue, graph.most())));
    Arena arena(scratch.data());
    detail::BestFirst search(arena, keys(), options_.build_queue, graph.most());
    std::vector<float> buffer;
    const float* const x = row(key, buffer);
    std::vector<std::int32_t> expanded;
    search.run(
        graph, entry_, key, [&](std::span<const std::int32_t> keys, double* to) { dots(x, keys, to); },
        [&](std::int32_t found) { expanded.push_back(found); });
    return expanded;
}

/// Each key is searched for and linked with what the search expands; then the lists of both steps are one.
ATTENTA_INLINE void RetrievalIndex::connect(const detail::Neighbours& projection) {
    const auto contains = [](const std::vector<std::int32_t>& list, std::int32_t key) {
        return std::find(list.begin(), list.end(), key) != list.end();
    };
    detail::Neighbours extra(2 * options_.degree, keys());
    for (std::int64_t n = 0; n < keys(); ++n) extra.set(n, projection.of(n));
    std::vector<std::byte> scratch;
    for (std::int64_t n = 0; n < keys(); ++n) {
        std::vector<std::int32_t> expanded = expanded_for(n, extra, scratch);
        std::erase_if(expanded, [&](std::int32_t key) { return contains(projection.of(n), key); });
        const std::vector<std::int32_t> list = prune(n, expanded, options_.degree, false);
        extra.set(n, list);
        for (const std::int32_t key : list) link(extra, key, static_cast<std::int32_t>(n));
    }
    for (std::int64_t n = 0; n < keys(); ++n) {
        std::vector<std::int32_t> list = projection.of(n);
        for (const std::int32_t key : extra.of(n))
            if (!contains(projection.of(n), key)) list.push_back(key);
        graph_.set(n, list);
    }
}

ATTENTA_INLINE void RetrievalIndex::insert(const HeadKeys& more) {
    if (keys() == 0) fail("RetrievalIndex::insert", "the index has no keys, needs one that was built");
    const std::int64_t first = keys();
    append("RetrievalIndex::insert", more);
    std::vector<std::byte> scratch;
    for (std::int64_t n = first; n < keys(); ++n) {
        const std::vector<std::int32_t> list = prune(n, expanded_for(n, graph_, scratch), options_.degree, false);
        graph_.set(n, list);
        for (const std::int32_t key : list) link(graph_, key, static_cast<std::int32_t>(n));
    }
}

ATTENTA_INLINE void RetrievalIndex::search(Heads<const float> q, const IndexSearchOptions& options, std::int64_t* found,
                                           Context& context, std::int64_t* scanned) const {
    const char* const f = "RetrievalIndex::search";
    if (keys() == 0) fail(f, "the index has no keys, needs one that was built");
    if (q.dim != dim()) fail(f, "q has " + std::to_string(q.dim) + " features, needs " + std::to_string(dim()));
    if (!q.data || !found) fail(f, std::string(q.data ? "found" : "q") + " is null, needs a tensor");
    detail::require_at_least(f, "top_k", options.top_k, 1);
    if (options.search_queue < options.top_k)
        fail(f, "search_queue is " + std::to_string(options.search_queue) + ", needs at least top_k " +
                    std::to_string(options.top_k));
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t)
            detail::check_finite_row(f, "q", q.row(h, t), h * q.tokens + t, q.dim);
    const std::int64_t bytes = detail::BestFirst::bytes(keys(), options.search_queue, graph_.most());
    std::byte* const scratch =
        context.workspace().reserve(static_cast<std::size_t>(bytes * context.executor().concurrency()));
    run_tasks(context.executor(), q.heads * q.tokens, [&](std::int64_t n, int slot) {
        Arena arena(scratch + slot * bytes);
        detail::BestFirst best(arena, keys(), options.search_queue, graph_.most());
        const float* const x = q.row(n / q.tokens, n % q.tokens);
        const std::int64_t scored = best.run(
            graph_, entry_, -1, [&](std::span<const std::int32_t> some, double* to) { dots(x, some, to); },
            [](std::int32_t) {});
        std::int64_t* const to = found + n * options.top_k;
        const std::int64_t count = std::min(options.top_k, std::ssize(best.queue()));
        for (std::int64_t i = 0; i < count; ++i) to[i] = best.queue()[static_cast<std::size_t>(i)].key;
        std::fill(to + count, to + options.top_k, -1);
        if (scanned) scanned[n] = scored;
    });
}

/// Behind it stand the rows of the keys, how many neighbours each has, and these.
struct RetrievalIndex::Header {
    static constexpr std::uint64_t own_magic = 0x3178646e49617474;  ///< "ttaIndx1"

    std::uint64_t magic = own_magic, sum = 0;  ///< checksum of all, itself 0
    std::int64_t keys = 0, dim = 0, storage = 0, entry = 0, links = 0;
    std::int64_t degree = 0, query_neighbours = 0, build_queue = 0;

    std::int64_t key_bytes() const { return keys * dim * size_of(static_cast<Dtype>(storage)); }
    std::uint64_t checksum_with(std::span<const std::byte> body) const {
        Header x = *this;
        x.sum = 0;
        return detail::checksum(body, detail::checksum(std::as_bytes(std::span(&x, 1))));
    }
};

ATTENTA_INLINE RetrievalIndex::Header RetrievalIndex::header() const {
    Header x;
    x.keys = keys();
    x.dim = dim();
    x.storage = static_cast<std::int64_t>(table_.storage());
    x.entry = entry_;
    for (std::int64_t n = 0; n < x.keys; ++n) x.links += std::ssize(graph_.of(n));
    x.degree = options_.degree;
    x.query_neighbours = options_.query_neighbours;
    x.build_queue = options_.build_queue;
    return x;
}

ATTENTA_INLINE std::size_t RetrievalIndex::saved_bytes() const {
    const Header x = header();
    return sizeof x + static_cast<std::size_t>(x.key_bytes()) +
           static_cast<std::size_t>(x.keys + x.links) * sizeof(std::int32_t);
}

ATTENTA_INLINE void RetrievalIndex::save(std::span<std::byte> to) const {
    const char* const f = "RetrievalIndex::save";
    if (keys() == 0) fail(f, "the index has no keys, needs one that was built");
    if (to.size() != saved_bytes())
        fail(f, "to has " + std::to_string(to.size()) + " bytes, needs " + std::to_string(saved_bytes()));
    Header x = header();
    std::byte* p = to.data() + sizeof x;
    const auto put = [&p](const void* data, std::size_t bytes) {
        if (bytes > 0) std::memcpy(p, data, bytes);
        p += bytes;
    };
    put(table_.view().k.data, static_cast<std::size_t>(x.key_bytes()));
    for (std::int64_t n = 0; n < x.keys; ++n) {
        const auto count = static_cast<std::int32_t>(graph_.of(n).size());
        put(&count, sizeof count);
    }
    for (std::int64_t n = 0; n < x.keys; ++n) put(graph_.of(n).data(), graph_.of(n).size() * sizeof(std::int32_t));
    x.sum = x.checksum_with(to.subspan(sizeof x));
    std::memcpy(to.data(), &x, sizeof x);
}

ATTENTA_INLINE RetrievalIndex RetrievalIndex::load(std::span<const std::byte> from) {
    const auto refuse = [](const std::string& why) { fail("RetrievalIndex::load", "from " + why); };
    Header x;
    if (from.size() < sizeof x)
        refuse("has " + std::to_string(from.size()) + " bytes, needs at least " + std::to_string(sizeof x));
    std::memcpy(&x, from.data(), sizeof x);
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    const auto within = [](std::int64_t n, std::int64_t least, std::int64_t limit) { return n >= least && n <= limit; };
    if (x.magic != Header::own_magic || !within(x.keys, 1, most) || !within(x.dim, 1, most) ||
        !within(x.storage, 0, 2) || !within(x.entry, 0, x.keys - 1) || !within(x.degree, 1, most) ||
        x.query_neighbours < 2 || x.build_queue < 1 || !within(x.links, 0, std::int64_t{1} << 60))
        refuse("has a header of other numbers, needs a saved index");
    const CheckedInt rows = CheckedInt(x.keys) * x.dim * size_of(static_cast<Dtype>(x.storage)),
                     bytes = rows + (CheckedInt(x.keys) + x.links) * sizeof(std::int32_t);
    const std::span<const std::byte> body = from.subspan(sizeof x);
    if (!bytes.valid() || body.size() != static_cast<std::size_t>(bytes.value()))
        refuse("has " + std::to_string(from.size()) + " bytes, needs those of its sizes");
    if (x.sum != x.checksum_with(body)) refuse("has another checksum than its bytes, needs a saved index");

    // Rows of the keys, which may stand at any address here.
    const std::vector<std::byte> memory(body.begin(), body.begin() + rows.value());
    KvView kv;
    kv.k = kv.v = {memory.data(), static_cast<Dtype>(x.storage), x.dim, 0, x.dim, 0, 0};
    kv.heads = 1;
    kv.tokens = x.keys;
    RetrievalIndex index;
    index.options_ = {x.degree, x.query_neighbours, x.build_queue, kv.k.dtype};
    index.entry_ = x.entry;
    index.table_ = KeyTable(1, x.dim, kv.k.dtype);
    index.graph_ = detail::Neighbours(3 * x.degree);
    index.append("RetrievalIndex::load", {kv, 0, 0, x.keys});

    std::vector<std::int32_t> numbers(static_cast<std::size_t>(x.keys + x.links));  // how many, then which
    std::memcpy(numbers.data(), body.data() + rows.value(), numbers.size() * sizeof(std::int32_t));
    auto next = numbers.begin() + x.keys;
    for (std::int64_t n = 0; n < x.keys; ++n) {
        const std::int32_t count = numbers[static_cast<std::size_t>(n)];
        if (!within(count, 0, std::min<std::int64_t>(3 * x.degree, numbers.end() - next)))
            refuse("has " + std::to_string(count) + " neighbours of key " + std::to_string(n) +
                   ", needs what it holds");
        std::vector<std::int32_t> list(next, next + count);
        for (const std::int32_t key : list)
            if (!within(key, 0, x.keys - 1))
                refuse("has a neighbour " + std::to_string(key) + ", needs one of " + std::to_string(x.keys) + " keys");
        index.graph_.set(n, std::move(list));
        next += count;
    }
    if (next != numbers.end()) refuse("has more neighbours than those of its keys, needs a saved index");
    return index;
}

ATTENTA_INLINE void search_indexes(std::span<const RetrievalIndex> indexes, Heads<const float> q,
                                   std::int64_t first_key, const IndexSearchOptions& options, std::int64_t* found,
                                   Context& context) {
    const auto count = static_cast<std::int64_t>(indexes.size());
    if (count < 1 || q.heads % count != 0)
        fail("search_indexes", std::to_string(count) + " indexes are given, needs a divisor of the " +
                                   std::to_string(q.heads) + " heads of q");
    const std::int64_t group = q.heads / count, size = group * q.tokens * options.top_k;
    for (std::int64_t g = 0; g < count; ++g) {
        std::int64_t* const to = found + g * size;
        indexes[static_cast<std::size_t>(g)].search(
            {q.row(g * group, 0), group, q.tokens, q.dim, q.head_stride, q.token_stride}, options, to, context);
        std::for_each(to, to + size, [&](std::int64_t& key) { key += key < 0 ? 0 : first_key; });
    }
}

ATTENTA_INLINE void retrieval_lists(std::span<const RetrievalIndex> indexes, std::int64_t search_queue,
                                    const RetrievalInputs& x, KeyLists& lists, const RetrievalOptions& options,
                                    Context& context) {
    if (options.top_k <= 0) return retrieval_lists(x, lists, options, context);
    std::vector<std::int64_t> found(static_cast<std::size_t>(x.q.heads * x.q.tokens * options.top_k));
    search_indexes(indexes, x.q, options.sink, {options.top_k, search_queue}, found.data(), context);
    RetrievalInputs with = x;
    with.found = hnd(std::as_const(found).data(), x.q.heads, x.q.tokens, options.top_k);
    RetrievalOptions read = options;
    read.read_found = true;
    retrieval_lists(with, lists, read, context);
}

ATTENTA_END
