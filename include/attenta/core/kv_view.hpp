// K and V read where they lie.
//
// Engines have their own caches: [head, token, dim], [token, head, dim], pages of either kind behind an int32 block
// table, K and V in one pool. A KvView describes such memory without owning it. Every engine reads K and V through
// `KvView::locate`, a list of row addresses for a block of tokens, so that layout is nobody else's business.
//
// Room for what comes: scales and zeros of quantised rows belong to `Side` (their strides mirror the data's); lengths
// per head, after eviction, beside `lengths`; both are resolved in `locate` and in the row conversions of simd/.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

struct KvView {
    /// Where K or V lies. Strides count elements.
    struct Side {
        const void* data = nullptr;
        Dtype dtype = Dtype::f32;
        std::int64_t dim = 0;
        std::int64_t head_stride = 0, token_stride = 0;
        std::int64_t page_stride = 0;   ///< between pages of the pool, when paged
        std::int64_t layer_stride = 0;  ///< between layers, for `at`

        std::int64_t row_bytes() const { return dim * size_of(dtype); }
        /// From a row of head 0, as `locate` gives it, to that of `head`, in bytes.
        std::int64_t head_bytes(std::int64_t head) const { return head * head_stride * size_of(dtype); }
    };

    Side k, v;
    std::int64_t heads = 0;

    std::int64_t sequences = 1;
    std::int64_t tokens = 0;                ///< length of the only sequence, where `lengths` is null
    const std::int32_t* lengths = nullptr;  ///< [sequences] tokens held
    const std::int32_t* starts = nullptr;   ///< [sequences] first token of each sequence in contiguous memory; null: 0

    std::int64_t page_size = 0;                 ///< tokens of a page; 0: contiguous
    std::int64_t pages = 0;                     ///< pages in the pool
    const std::int32_t* block_table = nullptr;  ///< [sequences, table_stride] page of the pool
    std::int64_t table_stride = 0;

    const std::int32_t* positions = nullptr;  ///< [sequences, positions_stride] position of each slot; null: its index
    std::int64_t positions_stride = 0;

    std::int64_t length(std::int64_t sequence) const { return lengths ? lengths[sequence] : tokens; }
    const std::int32_t* positions_of(std::int64_t sequence) const {
        return positions ? positions + sequence * positions_stride : nullptr;
    }

    /// The same view of another layer of the pool.
    KvView at(std::int64_t layer) const {
        KvView r = *this;
        r.k.data = bytes(k, layer * k.layer_stride);
        r.v.data = bytes(v, layer * v.layer_stride);
        return r;
    }

    /// Addresses of the rows of head 0 of tokens [first, first + count) of a sequence; the row of head h lies
    /// h · head_stride elements further on.
    void locate(std::int64_t sequence, std::int64_t first, std::int64_t count, const std::byte** k_rows,
                const std::byte** v_rows) const {
        std::int64_t done = 0;
        while (done < count) {
            std::int64_t token = first + done, run = count - done, page = 0;
            if (page_size > 0) {
                page = block_table[sequence * table_stride + token / page_size];
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

    /// One sequence from two views.
    template <class K, class V>
    static KvView of(Heads<K> k, Heads<V> v) {
        KvView r;
        r.k = {k.data, dtype_of<std::remove_const_t<K>>, k.dim, k.head_stride, k.token_stride, 0, 0};
        r.v = {v.data, dtype_of<std::remove_const_t<V>>, v.dim, v.head_stride, v.token_stride, 0, 0};
        r.heads = k.heads;
        r.tokens = k.tokens;
        return r;
    }

    /// An engine's own pages. `k` and `v` describe the first page of the pool: [page, token, head, dim] is
    /// nhd(k_pool, page_size, heads, dim), [page, head, token, dim] is hnd(k_pool, heads, page_size, dim).
    /// `page_stride` counts elements from page to page (set v.page_stride where that of V differs). `block_table` is
    /// [sequences, table_stride], `lengths` [sequences].
    template <class K, class V>
    static KvView paged(Heads<K> k, Heads<V> v, std::int64_t page_stride, std::int64_t pages,
                        const std::int32_t* block_table, std::int64_t table_stride, const std::int32_t* lengths,
                        std::int64_t sequences = 1) {
        KvView r = of(k, v);
        r.k.page_stride = page_stride;
        r.v.page_stride = page_stride;
        r.page_size = k.tokens;
        r.pages = pages;
        r.block_table = block_table;
        r.table_stride = table_stride;
        r.lengths = lengths;
        r.sequences = sequences;
        r.tokens = 0;
        return r;
    }

private:
    static const std::byte* bytes(const Side& s, std::int64_t elements) {
        return static_cast<const std::byte*>(s.data) + elements * size_of(s.dtype);
    }
};

ATTENTA_END
