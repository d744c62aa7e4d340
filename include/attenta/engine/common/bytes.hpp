// Which bytes a tensor has, and whether two tensors share any.
#pragma once

#include <attenta/core/kv_view.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

ATTENTA_BEGIN

/// From the first byte to one past the last. Of a tensor with strides also its rows, so that tensors which lie in each
/// other's gaps, as q and o of one buffer, are known to be apart.
struct Bytes {
    /// `count` times the same, `stride` bytes apart.
    struct Axis {
        std::int64_t count = 1, stride = 0;
    };

    const std::byte *begin = nullptr, *end = nullptr;
    std::int64_t row = 0;  ///< bytes without a gap that the axes repeat; 0: all of them
    std::array<Axis, 3> axes = {};

    /// More than any machine can address.
    static constexpr std::int64_t too_many = std::int64_t{1} << 56;

    /// Where the sizes reach too far, `too_many` bytes.
    static Bytes of(const void* data, std::int64_t row, const std::array<Axis, 3>& axes) {
        std::int64_t n = row;
        for (const Axis& a : axes) n = saturating::add(n, saturating::multiply(a.count - 1, a.stride));
        // Not a sum of pointers: no array may be there.
        const std::uintptr_t begin = address(data), end = begin + static_cast<std::uintptr_t>(std::min(n, too_many));
        return {static_cast<const std::byte*>(data), reinterpret_cast<const std::byte*>(end), row, axes};
    }
    static Bytes of(const void* data, std::int64_t size) { return of(data, size, {}); }

    std::int64_t size() const { return distance(begin, end); }

    bool meets(const Bytes& o) const {
        if (begin >= end || o.begin >= o.end || begin >= o.end || o.begin >= end) return false;
        for (const Bytes* x : {this, &o})
            for (const Axis& a : x->axes)
                if (a.count > 1 && a.stride > 0 && in_gaps(o, a.stride)) return false;
        return true;
    }

private:
    static std::uintptr_t address(const void* p) { return reinterpret_cast<std::uintptr_t>(p); }
    static std::int64_t distance(const void* from, const void* to) {
        return static_cast<std::int64_t>(address(to) - address(from));
    }
    /// All bytes lie in [begin, begin + width), repeated every `period` bytes.
    std::int64_t width(std::int64_t period) const {
        std::int64_t w = row > 0 ? row : size();
        for (const Axis& a : axes)
            if (a.stride % period != 0) w = saturating::add(w, saturating::multiply(a.count - 1, a.stride));
        return w;
    }
    bool in_gaps(const Bytes& o, std::int64_t period) const {
        const std::int64_t from = distance(begin, o.begin) % period, at = from < 0 ? from + period : from;
        return at >= width(period) && saturating::add(at, o.width(period)) <= period;
    }
};

struct NamedBytes {
    const char* name;
    Bytes bytes;
};

template <class T>
Bytes bytes_of(Heads<T> x) {
    if (x.heads < 1 || x.tokens < 1 || x.dim < 1) return {};
    constexpr std::int64_t size = sizeof(T);
    const auto in_bytes = [](std::int64_t elements) { return saturating::multiply(elements, size); };
    return Bytes::of(x.data, in_bytes(x.dim),
                     {{{x.heads, in_bytes(x.head_stride)}, {x.tokens, in_bytes(x.token_stride)}, {}}});
}

template <class T>
Bytes bytes_of(const Matrices<T>& x, std::int64_t element) {
    if (x.heads < 1 || x.rows < 1 || x.cols < 1) return {};
    const auto in_bytes = [element](std::int64_t elements) { return saturating::multiply(elements, element); };
    return Bytes::of(x.data, in_bytes(x.cols),
                     {{{x.heads, in_bytes(x.head_stride)}, {x.rows, in_bytes(x.row_stride)}, {}}});
}

template <class T>
Bytes bytes_of(std::span<T> x) {
    return Bytes::of(x.data(), static_cast<std::int64_t>(x.size_bytes()));
}

inline Bytes bytes_of(const KvView& kv, const KvView::Rows& s) {
    std::int64_t tokens = kv.page_size, pages = kv.pages;
    if (kv.page_size == 0) {
        pages = 1;
        tokens = 0;
        for (std::int64_t i = 0; i < kv.sequences; ++i)
            if (kv.length(i) > 0) tokens = std::max(tokens, (kv.starts ? kv.starts[i] : 0) + kv.length(i));
    }
    if (tokens < 1 || pages < 1 || kv.heads < 1) return {};
    const auto in_bytes = [&](std::int64_t elements) { return saturating::multiply(elements, size_of(s.dtype)); };
    return Bytes::of(
        s.data, s.dtype == Dtype::codes ? s.row_bytes() : in_bytes(s.dim),
        {{{pages, in_bytes(s.page_stride)}, {tokens, in_bytes(s.token_stride)}, {kv.heads, in_bytes(s.head_stride)}}});
}

ATTENTA_END
