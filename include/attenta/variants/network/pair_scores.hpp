// Attention whose scores are those of a small network on queries and keys: what the mechanisms share.
#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/softmax/common.hpp>
#include <attenta/variants/network/kernels.hpp>

#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// What a tanh network reads: s_ij = scale · v·tanh(w_q q_i + w_k k_j + b).
struct TanhNetwork {
    Matrices<const float> w_q, w_k;    ///< [A, Dq], [A, Dk]
    std::span<const float> v, b = {};  ///< [A]; b may be empty
    float scale = 1;
};

/// Its scores, for the time of a call.
class TanhPairScores {
public:
    /// Halves of all tokens: [Hq, Tq, A] and [Hk, A, Tk].
    void make(const TanhNetwork& network, Heads<const float> q, Heads<const float> k, Context& context);
    /// For queries whose half is given later, one row at a time: set_query.
    void make_keys(const TanhNetwork& network, Heads<const float> k, Context& context);
    void set_query(const float* half);

    network::TanhPairs edit() const { return {&scores_}; }
    const network::TanhScores& scores() const { return scores_; }
    Heads<const float> queries() const {
        return hnd(static_cast<const float*>(query_.data()), heads_, scores_.plain.queries, scores_.plain.width);
    }

private:
    void size_queries(std::int64_t heads, std::int64_t queries, std::int64_t key_heads);

    std::int64_t heads_ = 0;
    std::vector<float> query_, query_exp_, query_size_, key_, key_exp_, key_size_, v_, minus_2v_;
    network::TanhScores scores_;
};

/// Rows of keys [heads, width, stride] as network::Halves has them.
constexpr std::int64_t key_table_stride(std::int64_t keys) { return (keys + 15) / 16 * 16 + 16; }
/// to[h] [A, stride] = w k_hᵀ, 0 behind the last key.
void make_key_half(Matrices<const float> w, Heads<const float> k, float* to, Context& context);

/// Columns [begin, begin + count) of a matrix.
inline Matrices<const float> columns_of(const Matrices<const float>& x, std::int64_t begin, std::int64_t count) {
    return {x.data + begin, x.heads, x.rows, count, x.row_stride, x.head_stride};
}

/// What attention between pairs that are no products checks: everything, K and V included. Throws Error before anything is
/// written, also on causal calls with more queries than keys.
struct PairCall {
    const char* function;
    std::span<const Input> inputs;
    Heads<const float> q;
    const KvView& kv;
    const SoftmaxOutputs& out;
    float scale = 1;
};
SoftmaxCall check_pairs(const PairCall& call, const VisibleKeys& visibility, Context& context);
/// Throws Error where a table of so many numbers is larger than any memory.
void check_table(const char* function, const char* name, std::int64_t heads, std::int64_t tokens, std::int64_t width);

/// The engine's own products give 0: queries and keys have one channel of zeros, in no memory of their own.
void leave_products_out(attention::Request& request);

/// Attention with a network's scores in place of products.
template <class Edit>
void attend_pairs(SoftmaxCall& call, const Edit& scores) {
    leave_products_out(call.request);
    call.request.edits.push_back(edit(scores));
    call.run();
}

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/dense.inl>
#include <attenta/variants/network/kernels.inl>
#include <attenta/variants/network/pair_scores.inl>
#endif
