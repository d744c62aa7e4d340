// Keys that a selection keeps beside a cache and ranks instead of the cache's own: bounds of pages, means of blocks, low-rank
// or index keys. A value that grows with the cache, O(D) for each new key. They are stored as the select loop reads them.
#pragma once

#include <attenta/engine/select/request.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

ATTENTA_BEGIN

class KeyPanels {
public:
    KeyPanels() = default;
    /// Without keys. Throws Error on sizes below 1.
    KeyPanels(std::int64_t heads, std::int64_t dim, Dtype storage = Dtype::f32);

    std::int64_t heads() const { return heads_; }
    std::int64_t dim() const { return dim_; }
    std::int64_t size() const { return keys_; }  ///< keys
    Dtype storage() const { return storage_; }

    /// Adds keys x [heads, n, dim], rounded to the nearest of the storage type. Throws Error where sizes differ.
    void append(Heads<const float> x);
    /// Adds n keys of zeros.
    void append(std::int64_t n);
    /// Overwrites a key of a head with dim numbers.
    void set(std::int64_t head, std::int64_t key, const float* x);
    /// Reads one.
    void get(std::int64_t head, std::int64_t key, float* x) const;
    void clear();

    /// Valid until the next append.
    select::Panels view() const;

private:
    std::int64_t at(std::int64_t head, std::int64_t key) const;

    std::int64_t heads_ = 0, dim_ = 0, keys_ = 0, capacity_ = 0;
    Dtype storage_ = Dtype::f32;
    std::vector<std::byte> memory_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/key_panels.inl>
#endif
