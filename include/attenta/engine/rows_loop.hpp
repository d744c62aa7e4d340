// The rows loop of one instruction set: a handful of query rows per K/V head (decode) against unpacked K and V, each
// row of which is read once. See tile.hpp.
//
// A task takes its heads through blocks of tokens, one head after the other inside a block: queries, scores and outputs
// of a head stay in L1, and neighbours in token-major memory are still met soon. Scores of a head stand token by token,
// S[token][row], so that statistics of all rows are computed in the lanes of vectors; only dot products have a
// horizontal step, `lanes` of them at a time. Nothing depends on the memory's layout, so results do not either.
#pragma once

#include <attenta/engine/tile_loop.hpp>

ATTENTA_BEGIN

namespace tile {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
class RowsLoop {
    using Batch = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr std::int64_t tokens_per_vector = Rows < L ? L / Rows : 1,
                                  vectors_per_token = Rows < L ? 1 : Rows / L;
    static constexpr std::int64_t width = std::max<std::int64_t>(L, Rows);  ///< lanes of a head's statistics

    /// Rows of K or V of a head.
    struct Stream {
        const std::byte* const* rows = nullptr;
        std::int64_t tokens = 0, offset = 0, bytes = 0;

        /// Tokens that make a page of 4 KiB, at least 8: the distance between the request for a row and its use, and
        /// the values that are added at a time.
        std::int64_t page() const { return std::clamp<std::int64_t>(4096 / bytes, 8, 64); }
        /// Short rows come fast enough by themselves; asking costs more than it gives.
        bool wide() const { return bytes >= 256; }
    };

public:
    RowsLoop(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          task_(task),
          heads_(task.head_end - task.head_begin),
          rows_(task.row_end - task.row_begin),
          carver_(memory),
          x_(carver_, job.kv.k.dim, job.kv.v.dim, heads_, Rows),
          dim_(job.kv.k.dim),
          dim_v_(job.kv.v.dim),
          q_stride_(round_up(dim_, L)),
          o_stride_(round_up(dim_v_, L)) {}

    void run() {
        if (pass()) return;
        // A NaN or infinity met a weight of zero, or is a row's true result: once more, skipping zero weights.
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
            job_.kv.locate(task_.sequence, block_.begin, block_.count, x_.k_rows, x_.v_rows);
            for (head_ = 0; head_ < heads_; ++head_) head_pass();
        }
        return finish();
    }

    const MaskRow& row_of(std::int64_t r) const { return x_.row[head_ * Rows + r]; }
    float* queries() const { return x_.q + head_ * Rows * q_stride_; }
    float* outputs() const { return x_.o + head_ * Rows * o_stride_; }

    Stream keys_of(std::int64_t head) const {
        const KvView::Side& k = job_.kv.k;
        if (head == heads_) return {};
        return {x_.k_rows, block_.count, (task_.head_begin + head) * k.head_stride * size_of(k.dtype),
                k.dim * size_of(k.dtype)};
    }
    Stream values_of(std::int64_t head) const {
        const KvView::Side& v = job_.kv.v;
        return {x_.v_rows, block_.count, (task_.head_begin + head) * v.head_stride * size_of(v.dtype),
                v.dim * size_of(v.dtype)};
    }

    void load_queries() {
        std::fill_n(x_.m, heads_ * width, minus_infinity);
        std::fill_n(x_.l, heads_ * width, 0.f);
        std::fill_n(x_.o, heads_ * Rows * o_stride_, 0.f);
        for (head_ = 0; head_ < heads_; ++head_) {
            const float* q[Rows] = {};
            for (std::int64_t r = 0; r < rows_; ++r) {
                const MaskRow row = task_.mask_row(task_.head_begin + head_, task_.row_begin + r, job_.group);
                x_.row[head_ * Rows + r] = row;
                q[r] = job_.q.row(row.head, task_.q_begin + row.index);
                if (!job_.sink || !task_.sink || job_.sink[row.head] == minus_infinity) continue;
                // Lanes of further tokens stay empty: the sink counts once.
                x_.m[head_ * width + r] = job_.sink[row.head] * (log2e / job_.to_log2);
                x_.l[head_ * width + r] = 1.f;
            }
            constexpr int part = Rows < L ? Rows : static_cast<int>(L);
            for (int first = 0; first < Rows; first += part)
                simd::interleave_rows<Arch, part>(q + first, dim_, job_.q_factor, queries() + first * q_stride_);
        }
    }

    void head_pass() {
        const Cover covered = job_.mask ? job_.mask.classify(row_of(0), row_of(rows_ - 1), block_) : Cover::all;
        if (covered == Cover::none) return;
        simd::with_type(job_.kv.k.dtype, [&]<class T>(const T*) { scores<T>(); });
        if (job_.edit_count > 0 || covered == Cover::some) edit(covered == Cover::some);
        weights();
        if (job_.values) simd::with_type(job_.kv.v.dtype, [&]<class T>(const T*) { values<T>(); });
    }

    /// Asks for the rows that will be read a page after token t: of `side`, then of `after` (the values after
    /// the keys, the next head's keys after the values).
    ATTENTA_ALWAYS_INLINE void prefetch(const Stream& side, const Stream& after, std::int64_t t, std::int64_t n) const {
        if (!side.wide()) return;
        const bool here = t + side.page() < block_.count;
        const Stream& from = here ? side : after;
        const std::int64_t first = t + side.page() - (here ? 0 : block_.count);
        for (std::int64_t i = first; i < std::min(first + n, from.tokens); ++i)
            simd::prefetch_row(from.rows[i] + from.offset, from.bytes);
    }

    /// S[token][row] for the block, `lanes` dot products at a time.
    template <class T>
    void scores() {
        constexpr int rows = Rows < L ? Rows : static_cast<int>(L);
        const Stream stream = keys_of(head_), after = job_.values ? values_of(head_) : keys_of(head_ + 1);
        const std::int64_t last = block_.count - 1;
        float* out = x_.s;
        for (std::int64_t t = 0; t <= last; t += tokens_per_vector) {
            prefetch(stream, after, t, tokens_per_vector);
            const T* k[tokens_per_vector];
            for (std::int64_t u = 0; u < tokens_per_vector; ++u)
                k[u] = reinterpret_cast<const T*>(stream.rows[std::min(t + u, last)] + stream.offset);
            for (int first = 0; first < Rows; first += rows, out += L)
                simd::dot_rows<Arch, rows, T>(k, queries() + first * q_stride_, dim_).store_unaligned(out);
        }
    }

    /// Edits and masks work on row-major tiles: there and back.
    void edit(bool masked) {
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t i = 0; i < block_.count; ++i) x_.edit[r * key_block + i] = x_.s[i * Rows + r];
        for (std::int64_t e = 0; e < job_.edit_count; ++e) {
            ScoreTile t{x_.edit, key_block, rows_, &row_of(0), block_};
            job_.edits[e].function(job_.edits[e].parameters, t);
        }
        for (std::int64_t r = 0; r < rows_; ++r) {
            std::uint64_t words[words_per_block];
            std::fill_n(words, words_per_block, ~std::uint64_t{0});
            if (masked) job_.mask.bits(row_of(r), block_, words);
            for (std::int64_t i = 0; i < block_.count; ++i)
                x_.s[i * Rows + r] = (words[i / 64] >> (i % 64)) & 1 ? x_.edit[r * key_block + i] : minus_infinity;
        }
    }

    void weights() {
        const std::int64_t steps = (block_.count + tokens_per_vector - 1) / tokens_per_vector;
        std::fill(x_.s + block_.count * Rows, x_.s + steps * width, minus_infinity);
        for (std::int64_t v = 0; v < vectors_per_token; ++v) {
            float* const s = x_.s + v * L;
            float *const m = x_.m + head_ * width + v * L, *const l = x_.l + head_ * width + v * L;
            const Batch factor(job_.to_log2), before = simd::load<Arch>(m), now = column_max(s, steps, before);
            const Batch shift = xsimd::select(now == Batch(minus_infinity), Batch(0.f), now * factor);
            Batch sum[2] = {Batch(0.f), Batch(0.f)};
            for (std::int64_t i = 0; i < steps; ++i) {
                const Batch x = simd::fma<Arch>(simd::load<Arch>(s + i * width), factor, -shift);
                const Batch p = simd::exp2_nonpositive<Arch>(x);
                p.store_unaligned(s + i * width);
                sum[i % 2] = sum[i % 2] + p;
            }
            const Batch alpha = simd::exp2_nonpositive<Arch>(before * factor - shift);
            simd::fma<Arch>(simd::load<Arch>(l), alpha, sum[0] + sum[1]).store_unaligned(l);
            now.store_unaligned(m);
            alpha.store_unaligned(x_.alpha + v * L);
        }
    }

    /// The new maximum of each row, in all its lanes. Several chains hide the latency of a maximum.
    Batch column_max(const float* s, std::int64_t steps, Batch before) const {
        constexpr int chains = 4;
        Batch top[chains] = {before, before, before, before};
        std::int64_t i = 0;
        for (; i + chains <= steps; i += chains)
            simd::unrolled<chains>(
                [&](auto c) ATTENTA_FLATTEN { top[c] = xsimd::max(simd::load<Arch>(s + (i + c) * width), top[c]); });
        for (; i < steps; ++i) top[0] = xsimd::max(simd::load<Arch>(s + i * width), top[0]);
        const Batch all = xsimd::max(xsimd::max(top[0], top[1]), xsimd::max(top[2], top[3]));
        if constexpr (tokens_per_vector == 1) return all;
        float lane[static_cast<std::size_t>(L)];
        all.store_unaligned(lane);
        for (std::int64_t r = 0; r < Rows; ++r) {
            for (std::int64_t u = 1; u < tokens_per_vector; ++u) lane[r] = std::max(lane[r], lane[u * Rows + r]);
            for (std::int64_t u = 1; u < tokens_per_vector; ++u) lane[u * Rows + r] = lane[r];
        }
        return simd::load<Arch>(lane);
    }

    template <class T>
    void values() {
        for (std::int64_t r = 0; r < rows_; ++r)
            if (x_.alpha[r] != 1.f) simd::scale_row<Arch>(outputs() + r * o_stride_, o_stride_, x_.alpha[r]);
        const Stream stream = values_of(head_), after = keys_of(head_ + 1);
        const std::int64_t page = stream.page();
        for (std::int64_t t = 0; t < block_.count; t += page) {
            prefetch(stream, after, t, page);
            const std::int64_t here = std::min(page, block_.count - t);
            if (careful_)
                careful_values<T>(stream.rows + t, stream.offset, here, x_.s + t * Rows);
            else
                add_values<T>(stream.rows + t, stream.offset, here, x_.s + t * Rows);
        }
    }

    template <class T>
    void add_values(const std::byte* const* v, std::int64_t offset, std::int64_t n, const float* p) const {
        float* const o = outputs();
        std::int64_t r = 0;
        for (; r + 4 <= rows_; r += 4)
            simd::add_values<Arch, 4, T>(v, offset, n, p + r, Rows, dim_v_, o + r * o_stride_, o_stride_);
        for (; r + 2 <= rows_; r += 2)
            simd::add_values<Arch, 2, T>(v, offset, n, p + r, Rows, dim_v_, o + r * o_stride_, o_stride_);
        for (; r < rows_; ++r)
            simd::add_values<Arch, 1, T>(v, offset, n, p + r, Rows, dim_v_, o + r * o_stride_, o_stride_);
    }

    template <class T>
    void careful_values(const std::byte* const* v, std::int64_t offset, std::int64_t n, const float* p) const {
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t i = 0; i < n; ++i)
                if (p[i * Rows + r] != 0.f)
                    simd::add_row<Arch>(outputs() + r * o_stride_, reinterpret_cast<const T*>(v[i] + offset), dim_v_,
                                        p[i * Rows + r]);
    }

    bool finish() {
        bool finite = true;
        for (head_ = 0; head_ < heads_; ++head_)
            for (std::int64_t r = 0; r < rows_; ++r) {
                const MaskRow& row = row_of(r);
                float l = 0;
                for (std::int64_t u = 0; u < tokens_per_vector; ++u) l += x_.l[head_ * width + u * Rows + r];
                const std::int64_t part = task_.part + head_ * rows_ + r, token = task_.q_begin + row.index;
                float* lse = task_.part >= 0 ? job_.part_lse + part
                             : job_.lse      ? job_.lse + row.head * job_.q.tokens + token
                                             : nullptr;
                if (lse) *lse = l == 0.f ? minus_infinity : x_.m[head_ * width + r] * job_.to_log2 * ln2 + std::log(l);
                if (!job_.values) continue;
                float* out = task_.part >= 0 ? job_.part_o + part * dim_v_ : job_.o.row(row.head, token);
                if (!simd::finish_row<Arch>(out, outputs() + r * o_stride_, dim_v_, l == 0.f ? 0.f : 1.f / l))
                    finite = false;
            }
        return finite;
    }

    const Job& job_;
    const Task& task_;
    const std::int64_t heads_, rows_;
    Carver carver_;
    RowsScratch x_;
    const std::int64_t dim_, dim_v_, q_stride_, o_stride_;
    KeyBlock block_;
    std::int64_t head_ = 0;
    bool careful_ = false;
};

}  // namespace tile

ATTENTA_END
