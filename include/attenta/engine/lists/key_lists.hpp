// Which keys each query reads, as lists: what selections give and attention over few keys takes. A value: keep it, print
// it, use it for other layers and steps.
//
//     KeyLists lists({.heads = 8, .queries = 1, .keys = 131072});       // a list for each K/V head
//     for (int head = 0; head < 8; ++head) {
//         lists.add(0, 4);                                              // the first 4 keys
//         lists.add(newest - 255, 256);                                 // the newest 256
//         lists.end_list();
//     }
//
// A list has runs of keys in ascending order, each key once. Query head h reads the lists of list head h / (Hq / heads),
// queries a · query_block to (a + 1) · query_block - 1 those of row a, or, with a query_step, a, a + query_step, ….
#pragma once

#include <attenta/core/config.hpp>
#include <attenta/engine/mask/mask.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

ATTENTA_BEGIN

/// Keys start .. start + count - 1 of a cache.
struct KeyRun {
    std::int32_t start = 0, count = 0;
    bool operator==(const KeyRun&) const = default;
};

/// The keys of a task that come from a list, in order.
struct ListedKeys {
    const KeyRun* runs = nullptr;  ///< null: there is no list
    std::int64_t skipped = 0;      ///< keys of the first run that come before

    explicit operator bool() const { return runs != nullptr; }
    /// What is left behind `keys` keys.
    ListedKeys behind(std::int64_t keys) const {
        ListedKeys left = *this;
        if (!runs) return left;
        left.skipped += keys;
        for (; left.skipped > 0 && left.skipped >= left.runs->count; ++left.runs) left.skipped -= left.runs->count;
        return left;
    }
};

class KeyLists {
public:
    struct Shape {
        std::int64_t heads = 1;        ///< of lists: 1 for all heads, Hkv, Hq, or what divides or is a multiple of Hkv
        std::int64_t queries = 0;      ///< Tq
        std::int64_t keys = 0;         ///< Tk
        std::int64_t query_block = 1;  ///< queries that share a list
        std::int64_t unit = 1;         ///< every run begins and ends with a block of so many keys, or with the keys
        std::int64_t query_step = 0;   ///< in place of query_block: row a is for the queries a, a + query_step, …
        bool operator==(const Shape&) const = default;

        /// Of lists of a head.
        std::int64_t rows() const {
            if (query_step > 0) return query_step < queries ? query_step : queries;
            return (queries + query_block - 1) / query_block;
        }
        /// Number n of those of a row.
        std::int64_t query(std::int64_t row, std::int64_t n) const {
            return query_step > 0 ? row + n * query_step : row * query_block + n;
        }
        std::int64_t queries_of(std::int64_t row) const {
            if (query_step > 0) return (queries - row + query_step - 1) / query_step;
            const std::int64_t left = queries - row * query_block;
            return left < query_block ? left : query_block;
        }
    };

    KeyLists() = default;
    /// Without any list so far. Throws Error on sizes below 1 (queries and keys: below 0) and on 2^31 keys and more.
    explicit KeyLists(const Shape& shape) { reset(shape); }

    /// Lists of single keys in any order: those of list n = head · rows + row are indices[indptr[n] .. indptr[n + 1]),
    /// each with its bias, if there is any. Throws Error on pointers that do not ascend from 0 to the number of indices,
    /// on indices outside the keys and on keys that a list names twice.
    template <class Int>
    static KeyLists csr(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices,
                        std::span<const float> biases = {}) {
        KeyLists lists;
        lists.assign_csr(shape, indptr, indices, biases);
        return lists;
    }
    /// The same of blocks of shape.unit keys, of which the last may be short.
    template <class Int>
    static KeyLists blocks(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices) {
        KeyLists lists;
        lists.assign_blocks(shape, indptr, indices);
        return lists;
    }
    /// The blocks of which some query of the row sees a key. Query 0 stands at q_offset, by default at keys - queries.
    static KeyLists of(const Mask& mask, const Shape& shape, std::optional<std::int64_t> q_offset = {});

    /// Lists of another shape: that of each head and row is a copy of list from(head, row), with what its keys bring along,
    /// or has no keys where that is negative.
    template <class From>
    KeyLists picked(const Shape& shape, From&& from) const;

    // Building in the memory of the old lists, so that steady steps allocate nothing.

    /// What csr and blocks give, in place of the old lists; behind an Error some lists are missing.
    template <class Int>
    void assign_csr(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices,
                    std::span<const float> biases = {});
    template <class Int>
    void assign_blocks(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices);

    // List by list: heads · rows of them, row after row of a head.

    /// No list.
    void reset(const Shape& shape);
    /// Keys behind those that the open list has. Throws Error where they are not.
    void add(std::int64_t start, std::int64_t count);
    void end_list();

    const Shape& shape() const { return shape_; }
    std::int64_t lists() const { return static_cast<std::int64_t>(run_begin_.size()) - 1; }
    std::span<const KeyRun> runs(std::int64_t list) const {
        return {runs_.data() + run_begin_[at(list)], runs_.data() + run_begin_[at(list + 1)]};
    }
    /// Keys on the lists before: number of the list's first one among the keys of all lists.
    std::int64_t first_key(std::int64_t list) const { return key_begin_[at(list)]; }
    std::int64_t keys_of(std::int64_t list) const { return first_key(list + 1) - first_key(list); }
    /// On all lists.
    std::int64_t size() const { return key_begin_.back(); }
    /// Share of the pairs of a query and a key that the lists name.
    double density() const;
    /// A line for each list: "head 0, queries 64-127: 0-63 128-191", the first `most` of them.
    std::string text(std::int64_t most = 32) const;

    // What the keys on the lists bring along, [size()] each, or nothing:
    std::vector<float> bias;        ///< is added to the score
    std::vector<float> key_gain;    ///< factor of the key
    std::vector<float> value_gain;  ///< factor of the value

private:
    static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
    struct Csr;
    void assign(const char* function, const Shape& shape, const Csr& csr);
    /// The keys of a list of others, behind those of the open list.
    void add_list(const KeyLists& others, std::int64_t list);

    Shape shape_;
    std::vector<std::int64_t> run_begin_ = {0}, key_begin_ = {0};
    std::vector<KeyRun> runs_;
};

/// What csr and blocks read, of either type of integers.
struct KeyLists::Csr {
    std::int64_t pointers, entries;
    const void *indptr, *indices;
    bool wide;  ///< 64 bits
    std::int64_t unit;
    std::span<const float> bias;

    std::int64_t pointer(std::int64_t i) const { return get(indptr, i); }
    std::int64_t index(std::int64_t i) const { return get(indices, i); }

private:
    std::int64_t get(const void* array, std::int64_t i) const {
        return wide ? static_cast<const std::int64_t*>(array)[i] : static_cast<const std::int32_t*>(array)[i];
    }
};

template <class Int>
void KeyLists::assign_csr(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices,
                          std::span<const float> biases) {
    static_assert(sizeof(Int) == 8 || sizeof(Int) == 4, "std::int32_t or std::int64_t");
    assign("KeyLists::csr", shape,
           {static_cast<std::int64_t>(indptr.size()), static_cast<std::int64_t>(indices.size()), indptr.data(),
            indices.data(), sizeof(Int) == 8, 1, biases});
}

template <class Int>
void KeyLists::assign_blocks(const Shape& shape, std::span<const Int> indptr, std::span<const Int> indices) {
    static_assert(sizeof(Int) == 8 || sizeof(Int) == 4, "std::int32_t or std::int64_t");
    assign("KeyLists::blocks", shape,
           {static_cast<std::int64_t>(indptr.size()),
            static_cast<std::int64_t>(indices.size()),
            indptr.data(),
            indices.data(),
            sizeof(Int) == 8,
            shape.unit,
            {}});
}

template <class From>
KeyLists KeyLists::picked(const Shape& shape, From&& from) const {
    KeyLists lists(shape);
    for (std::int64_t h = 0; h < shape.heads; ++h)
        for (std::int64_t row = 0; row < shape.rows(); ++row) {
            if (const std::int64_t list = from(h, row); list >= 0) lists.add_list(*this, list);
            lists.end_list();
        }
    return lists;
}

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/lists/key_lists.inl>
#endif
