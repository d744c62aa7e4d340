// Quest: each query reads the pages whose keys could score best. Tang et al. 2024, "Quest: Query-Aware Sparsity for Efficient
// Long-Context LLM Inference", algorithm 1.
//
//   bound(q, page) = Σ_d max(q_d · min_d, q_d · max_d) >= q·k for every key of the page
//   A(h, i) = j <= i in the top_pages pages of the largest bounds, the query's own page always if `include_last`
//
// The bounds are dot products: [max(q, 0), min(q, 0)] with [max, min]. Time Tk/page_size·2·D to rank and
// top_pages·page_size·(D + Dv) to attend, per head and query; 2·D numbers per page and K/V head are kept.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/key_panels.hpp>

ATTENTA_BEGIN

/// Elementwise bounds of the keys of each page. Kept beside a cache, O(D) for each new key; in bfloat16 they are rounded
/// outward.
class PageBounds {
public:
    PageBounds() = default;
    /// Throws Error on sizes below 1 and on other types than f32 and bf16.
    PageBounds(std::int64_t kv_heads, std::int64_t dim, std::int64_t page_size, Dtype storage = Dtype::f32);

    /// The keys that the cache holds beyond those seen so far. Throws Error where heads or features differ.
    void update(const KvView& kv);
    std::int64_t keys() const { return keys_; }
    std::int64_t page_size() const { return page_size_; }
    /// [kv_heads, pages, 2 · dim], the largest numbers, then the smallest.
    const KeyPanels& rows() const { return table_; }

private:
    std::int64_t page_size_ = 0, keys_ = 0;
    KeyPanels table_;
};

/// `bounds` of all keys in pages of the options' size, or null: they are made for this call.
struct QuestInputs {
    Heads<const float> q;
    KvView kv;
    const PageBounds* bounds = nullptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct QuestOptions {
    std::int64_t page_size = 16;      ///< keys of a page
    std::int64_t top_pages = 128;     ///< pages that a query reads
    bool include_last = true;         ///< the query's own page is one of them
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("page_size", o.page_size, "keys of a page");
        visit("top_pages", o.top_pages, "pages that a query reads");
        visit("include_last", o.include_last, "the query's own page is one of them");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone: a list for each query head and query. Throws Error on shapes and options that do not fit.
void quest_lists(const QuestInputs& x, KeyLists& lists, const QuestOptions& options = {},
                 Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void quest(const QuestInputs& x, const SparseOutputs& out, const QuestOptions& options = {},
           Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/pages/quest.inl>
#endif
