// K and V read where they lie.
//
// Engines have their own caches: [head, token, dim], [token, head, dim], pages of either kind behind an int32 block
// table, K and V in one pool. A KvView describes such memory without owning it. Every engine reads K and V through
// `KvView::locate`, a list of row addresses for a block of tokens, so that layout is nobody else's business.
//
// Quantised rows carry their scales with them (row_codes.hpp). After eviction heads may hold different tokens, and
// different numbers of them: `head_lengths` and positions per head.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/row_codes.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

struct KvView {
    /// Where K or V lies. Strides count elements, those of codes bytes.
    struct Rows {
        const void* data = nullptr;
        Dtype dtype = Dtype::f32;
        std::int64_t dim = 0;
        std::int64_t head_stride = 0, token_stride = 0;
        std::int64_t page_stride = 0;   ///< between pages of the pool, when paged
        std::int64_t layer_stride = 0;  ///< between layers, for `at`; 0: there is one layer
        RowCodes codes = {};            ///< where dtype is Dtype::codes

        std::int64_t row_bytes() const { return dtype == Dtype::codes ? codes.row_bytes(dim) : dim * size_of(dtype); }
        /// From a row of head 0, as `locate` gives it, to that of `head`, in bytes.
        std::int64_t head_bytes(std::int64_t head) const { return head * head_stride * size_of(dtype); }
    };

    /// Pages and who has them, for `paged`. Strides count elements.
    struct Pages {
        std::int64_t pages = 0;                     ///< in the pool
        std::int64_t page_stride = 0;               ///< from page to page
        std::int64_t v_page_stride = 0;             ///< of V; 0: as K, if rows of V are as wide as those of K
        std::int64_t layer_stride = 0;              ///< from layer to layer, for `at`; 0: there is one layer
        std::int64_t v_layer_stride = 0;            ///< of V; 0: as K, if rows of V are as wide as those of K
        const std::int32_t* block_table = nullptr;  ///< [sequences, table_stride]; -1 where no query sees the page
        std::int64_t table_stride = 0;
        const std::int32_t* lengths = nullptr;  ///< [sequences] tokens held
        std::int64_t sequences = 1;
    };

    /// A ring and what it has seen, for `ring`.
    struct Ring {
        std::int64_t sink = 0;                   ///< first tokens, which are never overwritten
        std::int64_t tokens = 0;                 ///< written so far, those of this step included
        std::span<std::int32_t> positions = {};  ///< [slots], filled here; borrowed as long as the view
    };

    Rows k, v;
    std::int64_t heads = 0;
    /// Channels that a key has from the front of its value, before its own: a latent that all heads share, or a tied state
    std::int64_t tied = 0;

    std::int64_t sequences = 1;
    std::int64_t tokens = 0;                ///< length of the only sequence, where `lengths` is null
    const std::int32_t* lengths = nullptr;  ///< [sequences] tokens held
    const std::int32_t* starts = nullptr;   ///< [sequences] first token of each sequence in contiguous memory; null: 0
    /// [sequences, heads] tokens that each head holds, at most those of its sequence; null: all of them
    const std::int32_t* head_lengths = nullptr;

    std::int64_t page_size = 0;                 ///< tokens of a page; 0: contiguous
    std::int64_t pages = 0;                     ///< pages in the pool
    const std::int32_t* block_table = nullptr;  ///< [sequences, table_stride] page of the pool
    std::int64_t table_stride = 0;

    const std::int32_t* positions = nullptr;  ///< [sequences, positions_stride] position of each slot; null: its index
    std::int64_t positions_stride = 0;
    std::int64_t positions_head_stride = 0;  ///< from head to head of a sequence; 0: heads hold the same tokens

    std::int64_t key_dim() const { return tied + k.dim; }
    std::int64_t length(std::int64_t sequence) const { return lengths ? lengths[sequence] : tokens; }
    std::int64_t length(std::int64_t sequence, std::int64_t head) const {
        return head_lengths ? head_lengths[sequence * heads + head] : length(sequence);
    }
    const std::int32_t* positions_of(std::int64_t sequence, std::int64_t head = 0) const {
        return positions ? positions + sequence * positions_stride + head * positions_head_stride : nullptr;
    }
    /// Heads hold different tokens.
    bool differs_by_head() const { return head_lengths != nullptr || (positions && positions_head_stride != 0); }

    /// The same view of another layer of the pool, counted from this one. Throws Error on layers below 0, and on others
    /// than 0 where a layer_stride is 0.
    KvView at(std::int64_t layer) const;

    /// Addresses of the rows of head 0 of tokens [first, first + count) of a sequence; the row of head h lies
    /// h · head_stride elements further on. Tokens that no query sees may have no page: they get rows of page 0.
    void locate(std::int64_t sequence, std::int64_t first, std::int64_t count, const std::byte** k_rows,
                const std::byte** v_rows) const {
        std::int64_t done = 0;
        while (done < count) {
            std::int64_t token = first + done, run = count - done, page = 0;
            if (page_size > 0) {
                page = block_table[sequence * table_stride + token / page_size];
                if (page < 0 || page >= pages) page = 0;
                token %= page_size;
                run = run < page_size - token ? run : page_size - token;
            } else if (starts) {
                token += starts[sequence];
            }
            const std::byte* kr = bytes(k, page * k.page_stride + token * k.token_stride);
            const std::byte* vr = bytes(v, page * v.page_stride + token * v.token_stride);
            for (std::int64_t i = 0; i < run; ++i) {
                k_rows[done + i] = kr + i * k.token_stride * size_of(k.dtype);
                v_rows[done + i] = vr + i * v.token_stride * size_of(v.dtype);
            }
            done += run;
        }
    }

    /// One sequence from two views. Throws Error where their heads or tokens differ.
    template <class K, class V>
    static KvView of(Heads<K> k, Heads<V> v) {
        return of("KvView::of", k, v);
    }

    /// An engine's own pages. `k` and `v` describe the first page of the pool: [page, token, head, dim] is
    /// nhd(k_pool, page_size, heads, dim), [page, head, token, dim] is hnd(k_pool, heads, page_size, dim).
    /// Throws Error where these two differ, and where a stride or the lengths are missing.
    template <class K, class V>
    static KvView paged(Heads<K> k, Heads<V> v, const Pages& pages) {
        return of("KvView::paged", k, v).in_pages(pages);
    }
    /// The same by position, for pools of one layer.
    template <class K, class V>
    static KvView paged(Heads<K> k, Heads<V> v, std::int64_t page_stride, std::int64_t pages,
                        const std::int32_t* block_table, std::int64_t table_stride, const std::int32_t* lengths,
                        std::int64_t sequences = 1) {
        return paged(k, v,
                     {.pages = pages,
                      .page_stride = page_stride,
                      .v_page_stride = page_stride,
                      .block_table = block_table,
                      .table_stride = table_stride,
                      .lengths = lengths,
                      .sequences = sequences});
    }

    /// One sequence in a ring of k.tokens slots: token t lies in ring_slot(t, k.tokens, sink). Masks, windows and ALiBi
    /// go by the tokens' own positions. Throws Error where slots, sink and positions do not fit.
    template <class K, class V>
    static KvView ring(Heads<K> k, Heads<V> v, const Ring& ring) {
        return of("KvView::ring", k, v).in_ring(ring);
    }
    /// Where a ring of `slots` slots keeps a token: the first `sink` ones at the front, the newest others behind them.
    static std::int64_t ring_slot(std::int64_t token, std::int64_t slots, std::int64_t sink = 0);

private:
    template <class K, class V>
    static KvView of(const char* function, const Heads<K>& k, const Heads<V>& v) {
        check_pair(function, {k.heads, k.tokens}, {v.heads, v.tokens});
        KvView r;
        r.k = {k.data, dtype_of<std::remove_const_t<K>>, k.dim, k.head_stride, k.token_stride};
        r.v = {v.data, dtype_of<std::remove_const_t<V>>, v.dim, v.head_stride, v.token_stride};
        r.heads = k.heads;
        r.tokens = k.tokens;
        return r;
    }
    struct Size {
        std::int64_t heads, tokens;
    };
    static void check_pair(const char* function, Size k, Size v);
    KvView in_pages(const Pages& p) const;
    KvView in_ring(const Ring& p) const;

    static const std::byte* bytes(const Rows& s, std::int64_t elements) {
        return static_cast<const std::byte*>(s.data) + elements * size_of(s.dtype);
    }
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/kv_view.inl>
#endif
