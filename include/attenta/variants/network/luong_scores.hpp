// The scores of Luong, Pham, Manning 2015, eq. 8, for global and for local attention.
//
//   dot       s = q·k                        Dq = Dk
//   general   s = qᵀ W_a k                   W_a [Dq, Dk]: queries take it along
//   concat    s = v_a·tanh(W_a [q; k])       W_a [A, Dq + Dk], v_a [A]: halves of tokens, see network/kernels.hpp
//   location  s_ij = (W_a q_i)_j             W_a [N, Dq], N >= Tk: rows of W_a are the keys
#pragma once

#include <attenta/softmax/common.hpp>
#include <attenta/variants/network/pair_scores.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class LuongScore : std::uint8_t { dot, general, concat, location };
constexpr std::array<std::string_view, 4> names_of(LuongScore) { return {"dot", "general", "concat", "location"}; }

namespace detail {

/// What the scores read.
struct LuongTensors {
    const char* function;
    LuongScore score;
    Heads<const float> q;
    const KvView& kv;
    Matrices<const float> w_a;
    std::span<const float> v_a;
};
/// Throws Error where the weights are missing or do not fit.
void check_luong(const LuongTensors& x);

struct LuongMemory {
    std::vector<float> keys, values, queries;
    TanhPairScores tanh;
};
/// Gives a checked request, whose scale it is to have, what makes the scores.
void score_luong(const LuongTensors& x, attention::Request& request, LuongMemory& memory, Context& context);

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/network/luong_scores.inl>
#endif
