// Rows beside a cache that are read as a cache is: attention over them, and ranking by them.
#pragma once

#include <attenta/sparse/key_rows.hpp>

ATTENTA_BEGIN

class KeyTable : public KeyRows {
public:
    KeyTable() = default;
    /// Without rows. Throws Error on sizes below 1.
    KeyTable(std::int64_t heads, std::int64_t dim, Dtype storage = Dtype::f32)
        : KeyRows("KeyTable", 1, heads, dim, storage) {}

    /// K and V [heads, size, dim] are these rows. Valid until the next append.
    KvView view() const {
        KvView kv;
        kv.k = kv.v = {data(), storage(), dim(), head_stride(), dim(), 0, 0};
        kv.heads = heads();
        kv.tokens = size();
        return kv;
    }
};

ATTENTA_END
