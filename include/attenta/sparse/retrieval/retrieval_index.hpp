// A graph over the keys of a K/V head, in which a query finds its best keys without looking at all of them. Liu et al. 2024,
// "RetrievalAttention: Accelerating Long-Context LLM Inference via Vector Retrieval", section 3.2, with the graph of Chen et al.
// 2024, "RoarGraph: A Projected Bipartite Graph for Efficient Cross-Modal Approximate Nearest Neighbor Search".
//
//   prune(n, C)   C by closeness to n; c is skipped where a taken one is closer to c than n is
//   projection    of the best keys of a training query the best one, its pivot, has the others as pruned neighbours, and they
//                 have it
//   connection    each key is searched for from the entry, and linked with the pruned ones that the search has expanded
//   search        the best key that is not expanded yet, until the queue of the best has none
//
// Closeness is the inner product. Queries come from another distribution than keys: training queries, as a prompt's,
// make neighbours of keys that the same queries want. Sums are exact enough that a graph is the same for any instruction
// set and any threads. Time keys · build_queue · degree · D to build, search_queue · degree · D to search.
//
//     RetrievalIndex index({.kv = cache, .head = 0, .begin = sink, .end = tokens - window}, prompt_queries);
//     index.insert({.kv = cache, .head = 0, .begin = tokens - window, .end = tokens - window + 1});   // leaves the window
//     index.search(q, {.top_k = 100}, found);
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/core/view.hpp>
#include <attenta/sparse/key_table.hpp>
#include <attenta/sparse/retrieval/retrieval.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

ATTENTA_BEGIN

/// Keys [begin, end) of a head of a cache of one sequence.
struct HeadKeys {
    KvView kv;
    std::int64_t head = 0, begin = 0, end = 0;
};

struct RetrievalIndexOptions {
    std::int64_t degree = 35;             ///< neighbours of a key from each of the two steps
    std::int64_t query_neighbours = 100;  ///< best keys of a training query that become neighbours
    std::int64_t build_queue = 500;       ///< queue of the searches that connect
    Dtype storage = Dtype::f32;           ///< of the index's own copy of the keys

    static void fields(auto&& visit, auto& o) {
        visit("degree", o.degree, "neighbours of a key from each of the two steps");
        visit("query_neighbours", o.query_neighbours, "best keys of a training query that become neighbours");
        visit("build_queue", o.build_queue, "queue of the searches that connect");
    }
};

struct IndexSearchOptions {
    std::int64_t top_k = 100;         ///< keys that are looked for
    std::int64_t search_queue = 500;  ///< at least top_k: more finds more, and takes longer

    static void fields(auto&& visit, auto& o) {
        visit("top_k", o.top_k, "keys that are looked for");
        visit("search_queue", o.search_queue, "best keys so far that a search keeps");
    }
};

namespace detail {

/// For each key at most `most` others, its neighbours.
class Neighbours {
public:
    explicit Neighbours(std::int64_t most = 0, std::int64_t keys = 0) : most_(most) { resize(keys); }

    void resize(std::int64_t keys) { lists_.resize(static_cast<std::size_t>(keys)); }
    std::int64_t most() const { return most_; }
    const std::vector<std::int32_t>& of(std::int64_t key) const { return lists_[static_cast<std::size_t>(key)]; }
    void set(std::int64_t key, std::vector<std::int32_t> neighbours) {
        lists_[static_cast<std::size_t>(key)] = std::move(neighbours);
    }

private:
    std::int64_t most_;
    std::vector<std::vector<std::int32_t>> lists_;
};

}  // namespace detail

/// A value: copy it, save it, load it. Searches of any threads may run at once, each with its context.
class RetrievalIndex {
public:
    /// Without keys: only what is assigned to it makes it useful.
    RetrievalIndex() = default;
    /// train_queries [M, D], M may be 0. Throws Error on no keys, on options below 1 (query_neighbours: below 2) and on
    /// numbers that are not finite.
    RetrievalIndex(const HeadKeys& keys, Matrices<const float> train_queries, const RetrievalIndexOptions& options = {},
                   Context& context = default_context());

    /// Later keys, numbered behind those that there are. Throws Error as the constructor does; nothing is changed then.
    void insert(const HeadKeys& keys);

    std::int64_t keys() const { return table_.size(); }
    std::int64_t dim() const { return table_.dim(); }
    /// Where searches begin: the key that is nearest to the mean of those of the constructor.
    std::int64_t entry() const { return entry_; }

    /// found [H, T, top_k] of q [H, T, D]: the numbers of the keys, best first, -1 where there are fewer. scanned [H, T], if
    /// given: keys whose score was taken. Allocates nothing but the workspace of a context that has none yet. Throws Error on
    /// shapes, options and numbers that do not fit; nothing is written then.
    void search(Heads<const float> q, const IndexSearchOptions& options, std::int64_t* found,
                Context& context = default_context(), std::int64_t* scanned = nullptr) const;

    /// A flat copy in this machine's byte order.
    std::size_t saved_bytes() const;
    /// `to` holds saved_bytes(). Throws Error where there are no keys.
    void save(std::span<std::byte> to) const;
    /// Throws Error if `from` is not what `save` wrote, whatever it is.
    static RetrievalIndex load(std::span<const std::byte> from);

private:
    struct Header;

    void append(const char* function, const HeadKeys& keys);
    void find_entry();
    void project(Matrices<const float> train_queries, detail::Neighbours& graph, Context& context) const;
    void connect(const detail::Neighbours& projection);
    void dots(const float* x, std::span<const std::int32_t> keys, double* to) const;
    const float* row(std::int64_t key, std::vector<float>& buffer) const;
    std::vector<std::int32_t> prune(std::int64_t key, std::vector<std::int32_t> candidates, std::int64_t most,
                                    bool fill) const;
    void link(detail::Neighbours& graph, std::int64_t from, std::int32_t to) const;
    std::vector<std::int32_t> expanded_for(std::int64_t key, const detail::Neighbours& graph,
                                           std::vector<std::byte>& scratch) const;
    Header header() const;

    RetrievalIndexOptions options_;
    KeyTable table_;
    std::int64_t entry_ = 0;
    detail::Neighbours graph_;  ///< at most 3 · degree
};

/// What the indexes of the K/V heads find for the queries of their groups, q [Hq, T, D]: found [Hq, T, top_k] as `retrieval`
/// takes it, where key 0 of the indexes is key `first_key` of the cache. Throws Error as RetrievalIndex::search does.
void search_indexes(std::span<const RetrievalIndex> indexes, Heads<const float> q, std::int64_t first_key,
                    const IndexSearchOptions& options, std::int64_t* found, Context& context = default_context());

/// The lists of `retrieval` from a search in place of an exact one: sinks, what the indexes of keys from options.sink on find, and
/// the window. Keys that are found in the window of an earlier query are read there, not twice. Throws Error on shapes and
/// options that do not fit.
void retrieval_lists(std::span<const RetrievalIndex> indexes, std::int64_t search_queue, const RetrievalInputs& x,
                     KeyLists& lists, const RetrievalOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/retrieval/kernels.inl>
#include <attenta/sparse/retrieval/retrieval_index.inl>
#endif
