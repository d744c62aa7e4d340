// Caches as foreign engines keep them: pages of either order, K and V in one pool, a shuffled block table.
#pragma once

#include <attenta/core/kv_view.hpp>

#include <cstdint>
#include <vector>

#include "random.hpp"
#include "tensor.hpp"

namespace attenta_test {

enum class PageLayout {
    token_head,        ///< [page, K or V, token, head, dim]
    head_token,        ///< [page, K or V, head, token, dim]
    token_head_fused,  ///< [page, token, head, K row then V row]
};

struct Sequence {
    attenta::Heads<const float> k, v;
};

/// Copies sequences into pages; whatever no token fills stays NaN.
template <class T>
class PagedPool {
public:
    PagedPool(const std::vector<Sequence>& sequences, std::int64_t page_size, PageLayout layout,
              std::uint64_t seed = 5) {
        const std::int64_t heads = sequences[0].k.heads, D = sequences[0].k.dim, Dv = sequences[0].v.dim;
        const std::int64_t page_stride = page_size * heads * (D + Dv);
        std::int64_t used = 0, table_stride = 1;
        for (const Sequence& s : sequences) {
            lengths_.push_back(static_cast<std::int32_t>(s.k.tokens));
            const std::int64_t n = pages_of(s, page_size);
            used += n;
            table_stride = n + 1 > table_stride ? n + 1 : table_stride;
        }
        const std::int64_t pages = used + 3;
        memory_.assign(static_cast<std::size_t>(pages * page_stride), untouched<T>());
        T* base = memory_.data();
        T* v_base = base + (layout == PageLayout::token_head_fused ? D : page_size * heads * D);
        if (layout == PageLayout::head_token)
            k_ = attenta::hnd(base, heads, page_size, D), v_ = attenta::hnd(v_base, heads, page_size, Dv);
        else if (layout == PageLayout::token_head)
            k_ = attenta::nhd(base, page_size, heads, D), v_ = attenta::nhd(v_base, page_size, heads, Dv);
        else
            k_ = {base, heads, page_size, D, D + Dv, heads * (D + Dv)},
            v_ = {v_base, heads, page_size, Dv, D + Dv, heads * (D + Dv)};

        table_.assign(static_cast<std::size_t>(table_stride) * sequences.size(),
                      -1);  // -1: pages that must not be read
        const std::vector<std::int32_t> shuffled = Random(seed).permutation(pages);
        const std::int32_t* next = shuffled.data();
        for (std::size_t s = 0; s < sequences.size(); ++s) {
            std::int32_t* table = table_.data() + static_cast<std::int64_t>(s) * table_stride;
            for (std::int64_t p = 0; p < pages_of(sequences[s], page_size); ++p) {
                table[p] = *next++;
                fill(k_, sequences[s].k, table[p] * page_stride, p * page_size);
                fill(v_, sequences[s].v, table[p] * page_stride, p * page_size);
            }
        }
        view_ = attenta::KvView::paged(k_, v_,
                                       {.pages = pages,
                                        .page_stride = page_stride,
                                        .v_page_stride = page_stride,
                                        .block_table = table_.data(),
                                        .table_stride = table_stride,
                                        .lengths = lengths_.data(),
                                        .sequences = static_cast<std::int64_t>(sequences.size())});
    }
    PagedPool(PagedPool&&) = default;

    const attenta::KvView& view() const { return view_; }
    std::vector<std::int32_t>& table() { return table_; }
    std::vector<std::int32_t>& lengths() { return lengths_; }

private:
    static std::int64_t pages_of(const Sequence& s, std::int64_t page_size) {
        return (s.k.tokens + page_size - 1) / page_size;
    }

    static void fill(attenta::Heads<T> page, attenta::Heads<const float> x, std::int64_t offset, std::int64_t first) {
        for (std::int64_t h = 0; h < x.heads; ++h)
            for (std::int64_t t = 0; t < page.tokens && first + t < x.tokens; ++t)
                for (std::int64_t c = 0; c < x.dim; ++c)
                    page.row(h, t)[offset + c] = static_cast<T>(x.row(h, first + t)[c]);
    }

    std::vector<T> memory_;
    attenta::Heads<T> k_, v_;
    std::vector<std::int32_t> table_, lengths_;
    attenta::KvView view_;
};

}  // namespace attenta_test
