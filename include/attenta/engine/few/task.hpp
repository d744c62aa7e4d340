// What the few-query loop knows of its task, and what it does with scores and outputs of a head in cache.
#pragma once

#include <attenta/engine/attention/row_ends.hpp>
#include <attenta/engine/few/row_weights.hpp>
#include <attenta/engine/few/scratch.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/score_rows.hpp>
#include <attenta/simd/transpose.hpp>

#include <algorithm>
#include <cstdint>

ATTENTA_BEGIN

namespace attention {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
class FewTask {
protected:
    using Weights = RowWeights<Arch, Rows>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr std::int64_t width = Weights::width;
    static constexpr bool dots = Rows <= most_dot_rows;
    /// Rows and tokens of one vector of dot products: at least two tokens, so that a query is loaded for more than one.
    static constexpr int dot_part = std::min<int>(Rows, static_cast<int>(L) / 2);
    static constexpr std::int64_t s_stride = rows_block * Rows + FewScratch::most_lanes;

    FewTask(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          task_(task),
          heads_(task.head_end - task.head_begin),
          rows_(task.row_end - task.row_begin),
          arena_(memory),
          x_(arena_, job.kv.k.dim, job.kv.v.dim, heads_, Rows),
          dim_(job.kv.k.dim),
          dim_v_(job.kv.v.dim),
          q_stride_(round_up(dim_, L)),
          o_stride_(round_up(dim_v_, L)) {}

    void at_block(std::int64_t begin) {
        block_ = {begin, std::min(rows_block, task_.key_end - begin), job_.kv.positions_of(task_.sequence)};
        if (block_.positions) block_.positions += begin;
    }

    const QueryRow& row_of(std::int64_t r) const { return x_.row[head_ * Rows + r]; }
    /// For dot products [part][vector][row][lane], else [channel][row].
    float* queries() const { return x_.q + head_ * Rows * q_stride_; }
    float* outputs() const { return x_.o + head_ * Rows * o_stride_; }

    /// Scores, then weights, of the heads in flight.
    float* scores_of_head() const { return x_.s + (head_ - first_ + block_of_run_) * s_stride; }
    float* alphas() const { return x_.alpha + (head_ - first_) * width; }

    template <class F>
    ATTENTA_ALWAYS_INLINE void for_heads(F&& f) {
        for (head_ = first_; head_ < end_; ++head_) f();
    }

    void load_queries() {
        std::fill_n(x_.m, heads_ * width, minus_infinity);
        std::fill_n(x_.l, heads_ * width, 0.f);
        std::fill_n(x_.o, heads_ * Rows * o_stride_, 0.f);
        for (head_ = 0; head_ < heads_; ++head_) {
            const float* q[Rows] = {};
            for (std::int64_t r = 0; r < rows_; ++r) {
                const QueryRow row = task_.query_row(task_.head_begin + head_, task_.row_begin + r, job_.group);
                x_.row[head_ * Rows + r] = row;
                q[r] = job_.q.row(row.head, task_.q_begin + row.index);
                // Lanes of further tokens stay empty: the sink counts once.
                const RowStatistics first = first_statistics(job_, task_, row);
                x_.m[head_ * width + r] = first.max;
                x_.l[head_ * width + r] = first.sum;
            }
            if constexpr (dots) {
                for (int first = 0; first < Rows; first += dot_part)
                    simd::interleave_rows<Arch, dot_part>(q + first, dim_, job_.scale, queries() + first * q_stride_);
            } else {
                std::fill(q + rows_, q + Rows, q[0]);  // nobody looks at their results
                for (int first = 0; first < rows_; first += static_cast<int>(L))
                    simd::pack_queries<Arch, static_cast<int>(L), Rows>(q + first, dim_, job_.scale, queries() + first);
            }
        }
    }

    /// f(i, token): the i-th row that is read is that of the block's token.
    template <class F>
    void for_tokens(F&& f) const {
        for (std::int64_t stream = 0, token = 0; stream < streams_; ++stream)
            for (std::int64_t i = stream; i < block_.count; i += streams_) f(i, token++);
    }

    /// Edits and masks work on row-major tiles: there and back.
    void edit(Cover covered) {
        scores_by_row();
        // Edits work on whole vectors, and what older tasks have left there may be anything.
        for (std::int64_t r = 0; r < rows_; ++r)
            std::fill(x_.edit + r * rows_block + block_.count, x_.edit + r * rows_block + round_up(block_.count, L),
                      0.f);
        for (std::int64_t e = 0; e < job_.edit_count; ++e) {
            ScoreTile t{x_.edit, rows_block, rows_, &row_of(0), block_};
            job_.edits[e].function(job_.edits[e].parameters, t);
        }
        for (std::int64_t r = 0; r < rows_; ++r) {
            std::uint64_t words[rows_block / 64];
            std::fill_n(words, rows_block / 64, ~std::uint64_t{0});
            if (covered != Cover::all) job_.mask.bits(row_of(r), block_, words);
            simd::mask_row<Arch>(x_.edit + r * rows_block, 0, round_up(block_.count, L), words);
        }
        scores_by_token();
    }

    void scores_by_row() const {
        const float* const s = scores_of_head();
        if constexpr (dots) {
            for (std::int64_t r = 0; r < rows_; ++r)
                for_tokens(
                    [&](std::int64_t i, std::int64_t token) { x_.edit[r * rows_block + token] = s[i * Rows + r]; });
        } else {
            const std::int64_t part = block_.count / streams_;
            for (std::int64_t i = 0; i < streams_; ++i)
                simd::transpose_rows<Arch>(s + i * Rows, streams_ * Rows, part, rows_, x_.edit + i * part, rows_block);
        }
    }
    void scores_by_token() const {
        float* const s = scores_of_head();
        if constexpr (dots) {
            for (std::int64_t r = 0; r < rows_; ++r)
                for_tokens(
                    [&](std::int64_t i, std::int64_t token) { s[i * Rows + r] = x_.edit[r * rows_block + token]; });
        } else {
            const std::int64_t part = block_.count / streams_;
            for (std::int64_t i = 0; i < streams_; ++i)
                simd::transpose_rows<Arch>(x_.edit + i * part, rows_block, rows_, part, s + i * Rows, streams_ * Rows);
        }
    }

    bool finish() {
        bool finite = true;
        for (head_ = 0; head_ < heads_; ++head_)
            for (std::int64_t r = 0; r < rows_; ++r) {
                RowStatistics row{x_.m[head_ * width + r], 0.f};
                for (std::int64_t u = 0; u < Weights::tokens; ++u) row.sum += x_.l[head_ * width + u * Rows + r];
                const std::int64_t part = task_.part < 0 ? -1 : task_.part + head_ * rows_ + r;
                if (!write_row<Arch>(job_, task_, row_of(r), row, row.output_factor(), outputs() + r * o_stride_, part))
                    finite = false;
            }
        return finite;
    }

    const Job& job_;
    const Task& task_;
    const std::int64_t heads_, rows_;
    Arena arena_;
    FewScratch x_;
    const std::int64_t dim_, dim_v_, q_stride_, o_stride_;
    KeyBlock block_;
    std::int64_t streams_ = 1;                                        ///< places that its rows are taken from in turn
    std::int64_t first_ = 0, end_ = 0, head_ = 0, block_of_run_ = 0;  // the heads in flight, and the one at hand
};

}  // namespace attention

ATTENTA_END
