// Luong's scores in double precision.
#pragma once

#include <attenta/variants/network/luong_scores.hpp>

#include <functional>

#include "naive_network.hpp"

namespace attenta_test {

using attenta::LuongScore;

//   dot q·k;  general qᵀ W_a k;  concat v_a·tanh(W_a [q; k]);  location (W_a q)_j
inline std::function<double(std::int64_t, std::int64_t, std::int64_t)> naive_luong(LuongScore score, View q, View k,
                                                                                   Weights w_a,
                                                                                   std::span<const float> v_a,
                                                                                   double scale) {
    return [=](std::int64_t h, std::int64_t i, std::int64_t j) {
        const auto query = wide(q.row(h, i), q.dim), key = wide(k.row(h / (q.heads / k.heads), j), k.dim);
        switch (score) {
            case LuongScore::dot:
                return scale * naive_dot(query, key);
            case LuongScore::general:
                return scale * naive_dot(query, naive_linear(w_a, key));
            case LuongScore::concat:
                return scale * naive_tanh_score(v_a, naive_linear(w_a, query), naive_linear(w_a, key, q.dim));
            case LuongScore::location:
                break;
        }
        return scale * naive_dot(query, wide(w_a.row(0, j), q.dim));
    };
}

/// The weights of a score, of a size that leaves the softmax soft.
inline void put_luong(AttentionCase& c, LuongScore score) {
    const std::int64_t D = c.shape.D;
    switch (score) {
        case LuongScore::dot:
            break;
        case LuongScore::general:
            c.put("w_a", 1, D, D, 0.2f);
            break;
        case LuongScore::concat:
            c.put("w_a", 1, 11, 2 * D, 0.3f);
            c.put("v_a", 1, 1, 11);
            break;
        case LuongScore::location:
            c.put("w_a", 1, c.shape.Tk + 3, D, 0.3f, Order::head_token, 2);
            break;
    }
}

}  // namespace attenta_test
