// Tensors that own their memory, in any order of heads and tokens, with room between rows and between planes.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/view.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "random.hpp"

namespace attenta_test {

enum class Order { head_token, token_head };

/// A NaN that no computation gives: fresh memory, so that reads of padding and forgotten writes both show.
template <class T>
T untouched() {
    if constexpr (sizeof(T) == 4)
        return std::bit_cast<T>(std::uint32_t{0x7fc5a5a5u});
    else
        return std::bit_cast<T>(std::uint16_t{0x7fe5u});
}

template <class T>
class Tensor {
public:
    Tensor() = default;
    Tensor(std::int64_t heads, std::int64_t tokens, std::int64_t dim, Order order = Order::head_token,
           std::int64_t pad = 0) {
        const bool by_head = order == Order::head_token;
        const std::int64_t inner = dim + pad, outer = (by_head ? tokens : heads) * inner + pad;
        memory_.assign(static_cast<std::size_t>((by_head ? heads : tokens) * outer + 1), untouched<T>());
        view_ = {memory_.data(), heads, tokens, dim, by_head ? outer : inner, by_head ? inner : outer};
    }
    Tensor(Tensor&&) = default;
    Tensor& operator=(Tensor&&) = default;

    const attenta::Heads<T>& view() const { return view_; }
    T* row(std::int64_t head, std::int64_t token) const { return view_.row(head, token); }
    const std::vector<T>& memory() const { return memory_; }

    /// fn(row, head, token) for every row.
    template <class F>
    void each_row(F&& fn) const {
        for (std::int64_t h = 0; h < view_.heads; ++h)
            for (std::int64_t t = 0; t < view_.tokens; ++t) fn(row(h, t), h, t);
    }

    /// Nothing was written between the rows.
    bool padding_is_untouched() const {
        std::vector<bool> inside(memory_.size(), false);
        each_row(
            [&](T* r, std::int64_t, std::int64_t) { std::fill_n(inside.begin() + (r - view_.data), view_.dim, true); });
        const T fresh = untouched<T>();
        for (std::size_t i = 0; i < memory_.size(); ++i)
            if (!inside[i] && std::memcmp(&memory_[i], &fresh, sizeof(T)) != 0) return false;
        return true;
    }

private:
    std::vector<T> memory_;
    attenta::Heads<T> view_;
};

/// Standard normal numbers times `gain`; the numbers do not depend on the layout.
inline Tensor<float> random_tensor(Random& random, std::int64_t heads, std::int64_t tokens, std::int64_t dim,
                                   Order order = Order::head_token, std::int64_t pad = 0, float gain = 1) {
    Tensor<float> x(heads, tokens, dim, order, pad);
    x.each_row([&](float* r, std::int64_t, std::int64_t) {
        for (std::int64_t c = 0; c < dim; ++c) r[c] = gain * random.normal();
    });
    return x;
}

/// Another element type, another layout.
template <class T, class S>
Tensor<T> converted(const attenta::Heads<S>& x, Order order = Order::head_token, std::int64_t pad = 0) {
    Tensor<T> y(x.heads, x.tokens, x.dim, order, pad);
    y.each_row([&](T* r, std::int64_t h, std::int64_t t) {
        for (std::int64_t c = 0; c < x.dim; ++c) r[c] = static_cast<T>(static_cast<float>(x.row(h, t)[c]));
    });
    return y;
}

/// Rows in another order: row t of the result is row order[t] of x.
inline Tensor<float> reordered(const attenta::Heads<float>& x, const std::vector<std::int32_t>& order) {
    Tensor<float> y(x.heads, x.tokens, x.dim);
    y.each_row([&](float* r, std::int64_t h, std::int64_t t) {
        std::copy_n(x.row(h, order[static_cast<std::size_t>(t)]), x.dim, r);
    });
    return y;
}

}  // namespace attenta_test
