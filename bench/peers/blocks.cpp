#include "bench/peers/blocks.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bench {
namespace {

HeadRows head_rows(const attenta::KvView::Rows& side, std::int64_t head) {
    return {static_cast<const float*>(side.data) + head * side.head_stride, side.dim, side.token_stride};
}

}  // namespace

BlockwiseAttention::BlockwiseAttention(const Problem& problem, std::int64_t rows) : problem_(problem) {
    const AttendCase& c = problem.shape();
    heads_ = c.Hq / c.Hkv;
    queries_ = std::clamp<std::int64_t>(rows / heads_, 1, c.Tq);
    const std::int64_t most = heads_ * queries_;
    q_.resize(static_cast<std::size_t>(most * c.D));
    s_.resize(static_cast<std::size_t>(most * c.Tk));
    o_.resize(static_cast<std::size_t>(most * c.Dv));
}

BlockwiseAttention::Block BlockwiseAttention::block(std::int64_t begin) const {
    const AttendCase& c = problem_.shape();
    const std::int64_t queries = std::min(queries_, c.Tq - begin);
    return {begin, queries, c.causal ? c.Tk - c.Tq + begin + queries : c.Tk};
}

void BlockwiseAttention::operator()(std::size_t copy, Products& products) {
    const attenta::KvView kv = problem_.kv(copy);
    for (std::int64_t group = 0; group < kv.heads; ++group)
        for (std::int64_t begin = 0; begin < problem_.shape().Tq; begin += queries_) {
            const Block b = block(begin);
            const std::int64_t rows = heads_ * b.queries;
            load(copy, group, b);
            products.scores(rows, b.keys, q_.data(), head_rows(kv.k, group), s_.data());
            if (problem_.shape().causal) mask(b);
            products.softmax(rows, b.keys, s_.data());
            products.values(rows, b.keys, s_.data(), head_rows(kv.v, group), o_.data());
            store(copy, group, b);
        }
}

/// Rows of a block: the heads of its first query, those of the next, ..., times the scale.
void BlockwiseAttention::load(std::size_t copy, std::int64_t group, Block b) {
    const attenta::Heads<const float> q = problem_.q(copy);
    const float scale = 1.0f / std::sqrt(static_cast<float>(q.dim));
    float* out = q_.data();
    for (std::int64_t i = 0; i < b.queries; ++i)
        for (std::int64_t h = 0; h < heads_; ++h) {
            const float* row = q.row(group * heads_ + h, b.begin + i);
            out = std::transform(row, row + q.dim, out, [=](float x) { return scale * x; });
        }
}

void BlockwiseAttention::mask(Block b) {
    for (std::int64_t row = 0; row < heads_ * b.queries; ++row) {
        const std::int64_t hidden = b.queries - 1 - row / heads_;
        float* end = s_.data() + (row + 1) * b.keys;
        std::fill(end - hidden, end, -std::numeric_limits<float>::infinity());
    }
}

void BlockwiseAttention::store(std::size_t copy, std::int64_t group, Block b) {
    const attenta::Heads<float> o = problem_.o(copy);
    const float* in = o_.data();
    for (std::int64_t i = 0; i < b.queries; ++i)
        for (std::int64_t h = 0; h < heads_; ++h, in += o.dim)
            std::copy(in, in + o.dim, o.row(group * heads_ + h, b.begin + i));
}

}  // namespace bench
