// The rows loop of one instruction set: a handful of query rows per K/V head (decode) against unpacked K and V, each
// row read once and in the order of memory. See tile.hpp.
//
// A task takes several K/V heads through a block of tokens together: where memory is token-major, reading head by head
// would leave it at a third of its bandwidth. Scores of a block stand as S[token][row] whatever the memory's order, so
// that statistics of all rows are computed in the lanes of vectors, without a horizontal step (only dot products have
// one, `lanes` of them at a time), and results do not depend on the layout.
#pragma once

#include <attenta/engine/tile_loop.hpp>

ATTENTA_BEGIN

namespace tile {

template <class Arch>
class RowsLoop {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr std::int64_t value_keys = 8;  ///< keys whose values are added at a time
    static constexpr std::int64_t ahead = 8;       ///< tokens between a request for a row and its use

public:
    RowsLoop(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          task_(task),
          heads_(task.head_end - task.head_begin),
          rows_(task.row_end - task.row_begin),
          head_rows_(padded_rows(rows_)),
          used_(heads_ * head_rows_),
          token_rows_(round_up(used_, L)),
          carver_(memory),
          x_(carver_, job.kv.k.dim, job.kv.v.dim, used_),
          dim_(job.kv.k.dim),
          dim_v_(job.kv.v.dim),
          q_stride_(round_up(dim_, L)),
          o_stride_(round_up(dim_v_, L)) {}

    void run() {
        if (pass()) return;
        careful_ = true;
        pass();
    }

private:
    bool pass() {
        load_queries();
        for (std::int64_t j = task_.key_begin / key_block * key_block; j < task_.key_end; j += key_block) {
            const std::int64_t begin = std::max(j, task_.key_begin);
            block_ = {begin, std::min(j + key_block, task_.key_end) - begin, job_.kv.positions_of(task_.sequence)};
            if (block_.positions) block_.positions += begin;
            block_pass();
        }
        return finish();
    }

    const MaskRow& row_of(std::int64_t head, std::int64_t r) const { return x_.row[head * head_rows_ + r]; }

    void load_queries() {
        std::fill_n(x_.m, token_rows_, minus_infinity);
        std::fill_n(x_.l, token_rows_, 0.f);
        std::fill_n(x_.q, used_ * q_stride_, 0.f);
        std::fill_n(x_.o, used_ * o_stride_, 0.f);
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t r = 0; r < rows_; ++r) {
                const std::int64_t at = h * head_rows_ + r;
                const MaskRow row = task_.mask_row(task_.head_begin + h, task_.row_begin + r, job_.group);
                x_.row[at] = row;
                const float* q = job_.q.row(row.head, task_.q_begin + row.index);
                for (std::int64_t c = 0; c < dim_; ++c) x_.q[at * q_stride_ + c] = q[c] * job_.q_factor;
                if (!job_.sink || !task_.sink || job_.sink[row.head] == minus_infinity) continue;
                x_.m[at] = job_.sink[row.head] * (log2e / job_.to_log2);
                x_.l[at] = 1.f;
            }
    }

    void block_pass() {
        const Cover covered = job_.mask ? cover() : Cover::all;
        if (covered == Cover::none) return;
        job_.kv.locate(task_.sequence, block_.begin, block_.count, x_.k_rows, x_.v_rows);
        simd::with_type(job_.kv.k.dtype, [&]<class T>(const T*) {
            switch (head_rows_) {
                case 1:
                    return scores<1, T>();
                case 2:
                    return scores<2, T>();
                case 4:
                    return scores<4, T>();
                default:
                    return scores<8, T>();
            }
        });
        if (job_.edit_count > 0 || covered == Cover::some) edit(covered == Cover::some);
        weights();
        if (!job_.values) return;
        simd::with_type(job_.kv.v.dtype, [&]<class T>(const T*) { values<T>(); });
    }

    /// Masks may differ by head: a block is skipped, or left untested, where all heads agree.
    Cover cover() const {
        Cover low = Cover::all, high = Cover::none;
        for (std::int64_t h = 0; h < heads_; ++h) {
            const Cover c = job_.mask.classify(row_of(h, 0), row_of(h, rows_ - 1), block_);
            low = std::min(low, c);
            high = std::max(high, c);
        }
        return low == high ? low : Cover::some;
    }

    std::int64_t offset_of(const KvView::Side& side, std::int64_t head) const {
        return (task_.head_begin + head) * side.head_stride * size_of(side.dtype);
    }

    /// Asks for the rows of a group of tokens, `ahead` tokens after the one that is worked on.
    ATTENTA_ALWAYS_INLINE void prefetch(const KvView::Side& side, const std::byte* const* rows, std::int64_t offset,
                                        std::int64_t first, std::int64_t n) const {
        const std::int64_t bytes = side.dim * size_of(side.dtype);
        for (std::int64_t i = first; i < std::min(first + n, block_.count); ++i)
            simd::prefetch_row(rows[i] + offset, bytes);
    }

    /// S[token][row] for the block, `lanes` dot products at a time.
    template <int HeadRows, class T>
    void scores() {
        constexpr int Rows = HeadRows < L ? HeadRows : static_cast<int>(L), group = static_cast<int>(L) / Rows;
        for (std::int64_t h = 0; h < heads_; ++h) {
            const std::int64_t offset = offset_of(job_.kv.k, h);
            for (std::int64_t t = 0; t < block_.count; t += group) {
                prefetch(job_.kv.k, x_.k_rows, offset, t + ahead, group);
                const std::int64_t here = std::min<std::int64_t>(group, block_.count - t);
                const T* k[group];
                for (int u = 0; u < group; ++u)
                    k[u] = reinterpret_cast<const T*>(x_.k_rows[t + std::min<std::int64_t>(u, here - 1)] + offset);
                for (int first = 0; first < HeadRows; first += Rows) {
                    float lane[static_cast<std::size_t>(L)];
                    const float* q = x_.q + (h * HeadRows + first) * q_stride_;
                    simd::dot_rows<Arch, Rows, T>(k, q, q_stride_, dim_).store_unaligned(lane);
                    float* out = x_.s + t * token_rows_ + h * HeadRows + first;
                    for (int u = 0; u < here; ++u) std::copy_n(lane + u * Rows, Rows, out + u * token_rows_);
                }
            }
        }
    }

    /// Edits and masks work on row-major tiles: one head at a time, there and back.
    void edit(bool masked) {
        for (std::int64_t h = 0; h < heads_; ++h) {
            float* const first = x_.s + h * head_rows_;
            for (std::int64_t r = 0; r < rows_; ++r)
                for (std::int64_t i = 0; i < block_.count; ++i) x_.edit[r * key_block + i] = first[i * token_rows_ + r];
            for (std::int64_t e = 0; e < job_.edit_count; ++e) {
                ScoreTile t{x_.edit, key_block, rows_, &row_of(h, 0), block_};
                job_.edits[e].function(job_.edits[e].parameters, t);
            }
            for (std::int64_t r = 0; r < rows_; ++r) {
                std::uint64_t words[words_per_block];
                std::fill_n(words, words_per_block, ~std::uint64_t{0});
                if (masked) job_.mask.bits(row_of(h, r), block_, words);
                for (std::int64_t i = 0; i < block_.count; ++i)
                    first[i * token_rows_ + r] =
                        (words[i / 64] >> (i % 64)) & 1 ? x_.edit[r * key_block + i] : minus_infinity;
            }
        }
    }

    void weights() {
        using B = simd::Batch<Arch>;
        const B factor(job_.to_log2), none(minus_infinity);
        for (std::int64_t lane = 0; lane < token_rows_; lane += L) {
            float* const s = x_.s + lane;
            const B before = simd::load<Arch>(x_.m + lane);
            const B now = column_max(s, before);
            const B shift = xsimd::select(now == none, B(0.f), now * factor);
            B sum(0.f);
            for (std::int64_t i = 0; i < block_.count; ++i) {
                const B p = simd::exp2_nonpositive<Arch>(simd::load<Arch>(s + i * token_rows_) * factor - shift);
                p.store_unaligned(s + i * token_rows_);
                sum = sum + p;
            }
            const B alpha = simd::exp2_nonpositive<Arch>(before * factor - shift);
            (simd::load<Arch>(x_.l + lane) * alpha + sum).store_unaligned(x_.l + lane);
            now.store_unaligned(x_.m + lane);
            alpha.store_unaligned(x_.alpha + lane);
        }
    }

    /// Largest of the block's scores in each lane, and of `before`: several chains hide the latency of a maximum.
    simd::Batch<Arch> column_max(const float* s, simd::Batch<Arch> before) const {
        constexpr int chains = 4;
        simd::Batch<Arch> top[chains] = {before, before, before, before};
        std::int64_t i = 0;
        for (; i + chains <= block_.count; i += chains)
            simd::unrolled<chains>([&](auto c) ATTENTA_FLATTEN {
                top[c] = xsimd::max(simd::load<Arch>(s + (i + c) * token_rows_), top[c]);
            });
        for (; i < block_.count; ++i) top[0] = xsimd::max(simd::load<Arch>(s + i * token_rows_), top[0]);
        return xsimd::max(xsimd::max(top[0], top[1]), xsimd::max(top[2], top[3]));
    }

    template <class T>
    void values() {
        for (std::int64_t at = 0; at < used_; ++at)
            if (x_.alpha[at] != 1.f) simd::scale_row<Arch>(x_.o + at * o_stride_, o_stride_, x_.alpha[at]);
        for (std::int64_t h = 0; h < heads_; ++h) {
            const std::int64_t offset = offset_of(job_.kv.v, h);
            for (std::int64_t t = 0; t < block_.count; t += value_keys) {
                prefetch(job_.kv.v, x_.v_rows, offset, t + ahead, value_keys);
                const std::int64_t here = std::min(value_keys, block_.count - t);
                const float* p = x_.s + t * token_rows_ + h * head_rows_;
                float* o = x_.o + h * head_rows_ * o_stride_;
                if (careful_)
                    careful_values<T>(x_.v_rows + t, offset, here, p, o);
                else
                    head_values<T>(x_.v_rows + t, offset, here, p, o);
            }
        }
    }

    template <class T>
    void head_values(const std::byte* const* v, std::int64_t offset, std::int64_t n, const float* p, float* o) const {
        std::int64_t r = 0;
        for (; r + 4 <= rows_; r += 4)
            simd::add_values<Arch, 4, T>(v, offset, n, p + r, token_rows_, dim_v_, o + r * o_stride_, o_stride_);
        for (; r + 2 <= rows_; r += 2)
            simd::add_values<Arch, 2, T>(v, offset, n, p + r, token_rows_, dim_v_, o + r * o_stride_, o_stride_);
        for (; r < rows_; ++r)
            simd::add_values<Arch, 1, T>(v, offset, n, p + r, token_rows_, dim_v_, o + r * o_stride_, o_stride_);
    }

    template <class T>
    void careful_values(const std::byte* const* v, std::int64_t offset, std::int64_t n, const float* p,
                        float* o) const {
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t i = 0; i < n; ++i)
                if (p[i * token_rows_ + r] != 0.f)
                    simd::add_row<Arch>(o + r * o_stride_, reinterpret_cast<const T*>(v[i] + offset), dim_v_,
                                        p[i * token_rows_ + r]);
    }

    bool finish() {
        bool finite = true;
        for (std::int64_t h = 0; h < heads_; ++h)
            for (std::int64_t r = 0; r < rows_; ++r) {
                const std::int64_t at = h * head_rows_ + r;
                const MaskRow& row = x_.row[at];
                const float l = x_.l[at];
                const std::int64_t part = task_.part + h * rows_ + r, token = task_.q_begin + row.index;
                float* lse = task_.part >= 0 ? job_.part_lse + part
                             : job_.lse      ? job_.lse + row.head * job_.q.tokens + token
                                             : nullptr;
                if (lse) *lse = l == 0.f ? minus_infinity : x_.m[at] * job_.to_log2 * ln2 + std::log(l);
                if (!job_.values) continue;
                float* out = task_.part >= 0 ? job_.part_o + part * dim_v_ : job_.o.row(row.head, token);
                if (!simd::finish_row<Arch>(out, x_.o + at * o_stride_, dim_v_, l == 0.f ? 0.f : 1.f / l))
                    finite = false;
            }
        return finite;
    }

    const Job& job_;
    const Task& task_;
    const std::int64_t heads_, rows_;
    const std::int64_t head_rows_;   ///< rows of a head, padded
    const std::int64_t used_;        ///< rows of all heads
    const std::int64_t token_rows_;  ///< scores of a token, padded to whole vectors
    Carver carver_;
    RowsScratch x_;
    const std::int64_t dim_, dim_v_, q_stride_, o_stride_;
    KeyBlock block_;
    bool careful_ = false;
};

}  // namespace tile

ATTENTA_END
