// A pool of pages that sequences share. Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
// PagedAttention", section 4.
//
// Token j of a sequence is row j mod page of the page that its table names at j div page. A fork shares all pages; the
// first who writes into a page that others hold gets a copy of it, the last holder writes in place. Pages are free when
// nobody holds them.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/kv/storage.hpp>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

ATTENTA_BEGIN

struct PageOptions {
    int layers = 1;
    std::int64_t kv_heads = 0;
    std::int64_t dim = 0;
    std::int64_t dim_v = 0;          ///< 0: as dim
    std::int64_t page_size = 16;     ///< tokens of a page
    std::int64_t pages = 0;          ///< in the pool
    KvStorage storage = Dtype::f32;  ///< floats, or codes with scales of each token, not rotated
};

class PagePool {
public:
    /// The caller's name of a sequence.
    using Name = std::int64_t;

    /// Allocates everything. Throws Error on sizes below 1, on a storage that does not fit, and if there is not so much
    /// memory.
    explicit PagePool(const PageOptions& options);

    /// Room for n more tokens of a sequence, which begins with its first ones: new pages, and a copy of its last one where
    /// others hold it. Throws Error on n below 1 and where the pool has too few free pages; nothing is changed then.
    void extend(Name sequence, std::int64_t n);
    /// Writes the last k.tokens tokens of a sequence in one layer, k [Hkv, n, D] and v [Hkv, n, Dv]. Throws Error where
    /// shapes do not fit, on tokens that others hold too, and on numbers beyond the storage type; nothing is written then.
    void write(Name sequence, int layer, Heads<const float> k, Heads<const float> v);
    /// extend and write, of a pool of one layer.
    void append(Name sequence, Heads<const float> k, Heads<const float> v);

    /// A new sequence with the first tokens of another one (-1: all), by sharing its pages. Throws Error on a name that is
    /// taken or unknown, and on more tokens than there are.
    void fork(Name sequence, Name from, std::int64_t tokens = -1);
    /// Forgets all but the first tokens; pages behind them are given back.
    void truncate(Name sequence, std::int64_t tokens);
    /// Ends a sequence. Throws Error on an unknown one.
    void free(Name sequence);

    bool has(Name sequence) const { return sequences_.contains(sequence); }
    std::int64_t length(Name sequence) const;
    std::int64_t pages_used() const { return options_.pages - static_cast<std::int64_t>(free_.size()); }
    std::int64_t pages_free() const { return static_cast<std::int64_t>(free_.size()); }
    const PageOptions& options() const { return options_; }

    /// Layer 0 of sequences, as a batch in this order; `at` gives the others. Valid until the next call of anything but
    /// `write`.
    KvView view(std::span<const Name> sequences);

private:
    struct Sequence {
        std::vector<std::int32_t> pages;
        std::int64_t length = 0;
    };
    struct Side {
        KvFormat format;
        RowCodes codes;
        std::int64_t dim = 0, row_bytes = 0, page_bytes = 0, at = 0;  ///< where its pages begin in a layer
    };

    Sequence& find(const char* function, Name sequence);
    const Sequence& find(const char* function, Name sequence) const;
    void check_rows(const char* function, std::int64_t most, Heads<const float> k, Heads<const float> v) const;
    std::int32_t take_page();
    void release(std::int32_t page);
    std::byte* row(const Side& side, int layer, std::int32_t page, std::int64_t head, std::int64_t token) const;
    KvView::Rows rows_of(const Side& side) const;

    PageOptions options_;
    Side k_, v_;
    std::int64_t layer_bytes_ = 0;
    Workspace memory_;
    std::map<Name, Sequence> sequences_;
    std::vector<std::int32_t> holders_;  ///< [pages]
    std::vector<std::int32_t> free_;
    std::vector<std::int32_t> table_, lengths_;  ///< of the last view
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/pages.inl>
#endif
