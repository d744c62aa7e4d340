// Keys beside a cache that a selection ranks instead of the cache's own, stored as the select loop reads them.
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/key_rows.hpp>

ATTENTA_BEGIN

class KeyPanels : public KeyRows {
public:
    KeyPanels() = default;
    /// Without keys. Throws Error on sizes below 1.
    KeyPanels(std::int64_t heads, std::int64_t dim, Dtype storage = Dtype::f32)
        : KeyRows("KeyPanels", select::Panels::width, heads, dim, storage) {}

    /// Valid until the next append.
    select::Panels view() const { return {data(), storage(), heads(), size(), dim(), head_stride()}; }
};

ATTENTA_END
