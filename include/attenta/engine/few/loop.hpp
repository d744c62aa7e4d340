// The few-query loop of one instruction set: few query rows per K/V head (decode, speculation) against unpacked K and V, each
// row of which is read once. See engine/attention/request.hpp.
//
// A task takes its heads through blocks of tokens: one head after the other, or interleaved where their rows are
// neighbours in token-major memory. Queries, scores and outputs stay in or near L1. Scores of a head stand token by token,
// S[token][row], so that statistics of all rows are computed in the lanes of vectors. Up to 8 rows take dot products,
// `lanes` of them at a time; more rows fill vectors themselves and meet the channels of several keys one by one, without
// any horizontal step. Nothing depends on the memory's layout, so results do not either.
#pragma once

#include <attenta/engine/few/row_streams.hpp>
#include <attenta/engine/few/task.hpp>
#include <attenta/engine/few/whole_rows.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/register_tile.hpp>

#include <type_traits>

ATTENTA_BEGIN

namespace attention {

/// `Rows`: the query rows of a head, padded to a power of two.
template <class Arch, int Rows>
class FewLoop : FewTask<Arch, Rows> {
    using Base = FewTask<Arch, Rows>;
    using Batch = simd::Batch<Arch>;
    using Whole = WholeRows<Arch, Rows>;
    using Base::L, Base::width, Base::dots, Base::dot_part, Base::s_stride, Base::job_, Base::task_, Base::heads_,
        Base::rows_, Base::x_, Base::dim_, Base::dim_v_, Base::q_stride_, Base::o_stride_, Base::block_, Base::streams_,
        Base::first_, Base::end_, Base::head_, Base::block_of_run_, Base::at_block, Base::for_tokens, Base::row_of,
        Base::queries, Base::outputs, Base::scores_of_head, Base::alphas, Base::for_heads, Base::load_queries,
        Base::edit, Base::finish;
    using typename Base::Weights;
    static constexpr int tile_keys = score_tile_keys(simd::TileShape<Arch>::rows);
    static_assert(tile_keys <= FewScratch::most_keys);
    static constexpr std::int64_t score_tokens = dots ? L / dot_part : tile_keys;  ///< at a time
    static_assert(!Whole::possible || Whole::score_tokens == score_tokens);
    /// Tokens of a head at a time: as many rows of queries or outputs come from and go to L1 as rows of keys or values.
    static constexpr std::int64_t score_step = dots ? std::max<std::int64_t>(score_tokens, Rows) : score_tokens;

    static constexpr std::int64_t most_heads = FewScratch::most_heads;  ///< that are interleaved
    template <class T>
    std::int64_t value_bytes() const {
        const ValueStep& step = tuning_.value_step;
        if (!from_memory_) return dots ? step.cached : step.cached_many;
        if (Rows >= 32) return step.many;
        if (!dots || sizeof(T) < sizeof(float)) return step.halves;
        return adjacent_ ? std::max(step.interleaved, Rows * job_.kv.v.row_bytes()) : step.streamed;
    }
    /// Values that are added at a time.
    template <class T>
    std::int64_t value_step() const {
        return std::clamp(value_bytes<T>() / job_.kv.v.row_bytes(), tuning_.least_values, tuning_.most_values);
    }

public:
    FewLoop(const Job& job, const Task& task, std::byte* memory)
        : Base(job, task, memory),
          tuning_(job.tuning->few),
          adjacent_(job.kv.k.head_stride < job.kv.k.token_stride && heads_ > 1),
          heads_in_flight_(adjacent_ ? most_heads : 1),
          from_memory_(come_from_memory(tuning_, job.kv, task.sequence)),
          whole_(Whole::possible && tuning_.whole_rows && from_memory_ && job.kv.k.dtype == Dtype::f32 &&
                 job.kv.v.dtype == Dtype::f32),
          most_streams_(streams()),
          whole_rows_(tuning_, job.kv, adjacent_, score_step, value_step<float>(), x_.visits),
          watch_(job.phases) {}

    void run() {
        if (pass()) return;
        // A NaN or infinity met a weight of zero, or is a row's true result: once more, skipping zero weights.
        nan_safe_ = true;
        pass();
    }

private:
    bool pass() {
        load_queries();
        for (std::int64_t j = task_.key_begin, blocks; j < task_.key_end; j += blocks * rows_block) {
            blocks = blocks_from(j);
            at_block(j);
            locate_rows(blocks);
            watch_.lap(Phase::pack);
            for (first_ = 0; first_ < heads_; first_ = end_) {
                end_ = std::min(first_ + heads_in_flight_, heads_);
                if (blocks > 1)
                    run_pass(j);
                else
                    pass_heads();
            }
        }
        const bool finite = finish();
        watch_.lap(Phase::merge);
        return finite;
    }

    std::int64_t streams() const {
        if (!from_memory_) return 1;
        return dots ? tuning_.streams : tuning_.streams_of_many;
    }

    /// Heads that are not interleaved read their keys in long runs; values in blocks, where their order counts.
    std::int64_t blocks_from(std::int64_t begin) const {
        constexpr std::int64_t run = FewScratch::run_blocks;
        return whole_ && !adjacent_ && !nan_safe_ && begin + run * rows_block <= task_.key_end ? run : 1;
    }

    void locate_rows(std::int64_t blocks) {
        // Whole vectors of each place's tokens, for the transposes of `edit`.
        const bool in_vectors = block_.count % (most_streams_ * FewScratch::most_lanes) == 0;
        const std::int64_t count = blocks > 1 ? blocks * rows_block : block_.count;
        streams_ = in_vectors ? most_streams_ : 1;
        const std::byte** const k = streams_ > 1 ? x_.k_located : x_.k_rows;
        const std::byte** const v = streams_ > 1 ? x_.v_located : x_.v_rows;
        job_.kv.locate(task_.sequence, block_.begin, count, k, v);
        if (streams_ > 1)
            for (std::int64_t b = 0; b < blocks * rows_block; b += rows_block)
                for_tokens([&](std::int64_t i, std::int64_t token) {
                    if (blocks == 1) x_.k_rows[i] = k[token];
                    x_.v_rows[b + i] = v[b + token];
                });
        if (blocks > 1) order_keys(k);
        // The last scores are computed in whole groups, too.
        std::fill_n(x_.k_rows + count, score_tokens, x_.k_rows[count - 1]);
    }

    /// Keys from places of the whole run in turn, and where their scores stand.
    void order_keys(const std::byte* const* located) const {
        const std::int64_t part = FewScratch::run_blocks * rows_block / streams_, part_of_block = rows_block / streams_;
        for (std::int64_t stream = 0, token = 0; stream < streams_; ++stream)
            for (std::int64_t n = 0; n < part; ++n, ++token) {
                const std::int64_t i = n * streams_ + stream, block = token / rows_block, t = token % rows_block;
                x_.k_rows[i] = located[token];
                x_.places[i] = static_cast<std::int32_t>(block * s_stride +
                                                         (t % part_of_block * streams_ + t / part_of_block) * Rows);
            }
    }

    RowStream stream(const KvView::Rows& side, const std::byte* const* rows, std::int64_t head) const {
        if (head >= heads_) return {};
        return {rows, block_.count, side.head_bytes(task_.head_begin + head), job_.tuning->prefetch_to_l1};
    }
    RowStream keys_of(std::int64_t head) const { return stream(job_.kv.k, x_.k_rows, head); }
    RowStream values_of(std::int64_t head) const { return stream(job_.kv.v, x_.v_rows, head); }

    /// The heads in flight: all scores, all weights, all values.
    void pass_heads() {
        if (!classify()) return;
        if (whole_) {
            plan_whole_rows(block_.count);
            watch_.lap(Phase::pack);
            whole_scores();
        } else {
            simd::with_type(job_.kv.k.dtype, [&]<class T>(const T*) { scores<T>(); });
        }
        watch_.lap(Phase::scores);
        update();
    }

    void update() {
        const std::int64_t first = block_of_run_ * rows_block;
        simd::PrefetchQueue queue = whole_ && job_.values ? whole_rows_.first_values(first) : simd::PrefetchQueue{};
        for_heads([&] {
            const Cover covered = cover();
            if (job_.edit_count > 0 || covered != Cover::all) edit(covered);
            if (!whole_ && dots && from_memory_ && job_.values) queue = first_values_of_head();
            weights(queue);
        });
        watch_.lap(Phase::softmax);
        if (!job_.values) return;
        for_heads([&] { decay_outputs(); });
        if (whole_ && !nan_safe_)
            add_whole_values(first);
        else
            simd::with_type(job_.kv.v.dtype, [&]<class T>(const T*) { values<T>(); });
        watch_.lap(Phase::values);
    }

    Cover& cover() { return covered_[head_ - first_ + block_of_run_]; }
    bool classify() {
        bool any = false;
        for_heads([&] {
            cover() = job_.mask ? job_.mask.classify(row_of(0), row_of(rows_ - 1), block_) : Cover::all;
            any = any || cover() != Cover::none;
        });
        return any;
    }

    /// A head's run of blocks: all scores, then weights and values of one block after the other.
    void run_pass(std::int64_t begin) {
        bool any = false;
        for_blocks(begin, [&] { any = classify() || any; });
        if (!any) return;
        head_ = first_;
        plan_whole_rows(FewScratch::run_blocks * rows_block);
        watch_.lap(Phase::pack);
        if constexpr (Whole::possible) whole_rows_.scores(queries(), x_.s, x_.places);
        watch_.lap(Phase::scores);
        for_blocks(begin, [&] {
            head_ = first_;
            if (cover() != Cover::none) update();
        });
    }
    template <class F>
    void for_blocks(std::int64_t begin, F&& f) {
        for (block_of_run_ = 0; block_of_run_ < FewScratch::run_blocks; ++block_of_run_) {
            at_block(begin + block_of_run_ * rows_block);
            f();
        }
        block_of_run_ = 0;
    }

    void plan_whole_rows(std::int64_t count) {
        const std::int64_t h = task_.head_begin;
        whole_rows_.plan(x_.k_rows, job_.values ? x_.v_rows : nullptr, count, h + first_, h + end_,
                         h + std::min(end_ + heads_in_flight_, heads_));
    }
    void whole_scores() {
        if constexpr (Whole::possible)
            whole_rows_.scores(x_.q + first_ * Rows * q_stride_, Rows * q_stride_, x_.s, s_stride);
    }
    void add_whole_values(std::int64_t first) {
        if constexpr (Whole::possible)
            whole_rows_.add_values(x_.s + block_of_run_ * s_stride, s_stride, x_.o + first_ * Rows * o_stride_,
                                   Rows * o_stride_, o_stride_, first, block_.count);
    }

    std::int64_t turns(const KvView::Rows& side, std::int64_t step) const {
        if (!from_memory_ && side.row_bytes() < tuning_.long_row) return 0;
        return std::max<std::int64_t>(1, tuning_.prefetch_distance / (side.row_bytes() * step));
    }

    /// S[token][row] for the block.
    template <class T>
    void scores() {
        RowPass pass{{}, {}, end_ - first_, score_step, turns(job_.kv.k, score_step)};
        for_heads([&] {
            pass.now[head_ - first_] = keys_of(head_);
            pass.after[head_ - first_] = job_.values ? values_of(head_) : RowStream{};
        });
        for (std::int64_t t = 0; t < block_.count; t += score_step) {
            const std::int64_t end = std::min(t + score_step, block_.count);
            for_heads([&] {
                if constexpr (dots)
                    dot_products<T>(pass, t, end);
                else
                    tile_of_scores<T>(pass, t);
            });
        }
    }

    // The kernels' callers are not inlined: on their own they keep everything in registers.

    template <class T>
    [[gnu::noinline]] void tile_of_scores(const RowPass& pass, std::int64_t t) const {
        const RowStream& now = pass.now[head_ - first_];
        auto queue = pass.prefetch_queue(head_ - first_, t, tile_keys, job_.kv.k.row_bytes());
        float* const out = scores_of_head() + t * Rows;
        constexpr bool widens = !std::is_same_v<T, float>;
        for (int u = 0; widens && u < tile_keys; ++u)
            simd::widen_row<Arch>(reinterpret_cast<const T*>(now.row(t + u)), x_.widened + u * q_stride_, dim_);
        const auto key = [&](auto u) ATTENTA_FLATTEN {
            return widens ? x_.widened + u * q_stride_ : reinterpret_cast<const float*>(now.row(t + u));
        };
        std::int64_t r = 0;
        for (; r + L < rows_; r += 2 * L)
            simd::score_keys<Arch, tile_keys, 2>(key, queries() + r, Rows, dim_, out + r, Rows, queue);
        if (r < rows_) simd::score_keys<Arch, tile_keys, 1>(key, queries() + r, Rows, dim_, out + r, Rows, queue);
    }

    template <class T>
    [[gnu::noinline]] void dot_products(const RowPass& pass, std::int64_t t, std::int64_t end) const {
        const RowStream& now = pass.now[head_ - first_];
        auto queue = pass.prefetch_queue(head_ - first_, t, score_step, job_.kv.k.row_bytes());
        float* out = scores_of_head() + t * Rows;
        for (; t < end; t += score_tokens, out += score_tokens * Rows) {
            for (int first = 0; first < Rows; first += dot_part) {
                const Batch products = dots_of_part<T>(now, t, queue, first);
                if constexpr (Rows == dot_part) {
                    products.store_unaligned(out);
                } else {
                    float lane[static_cast<std::size_t>(L)];
                    products.store_unaligned(lane);
                    for (std::int64_t u = 0; u < score_tokens; ++u)
                        std::copy_n(lane + u * dot_part, dot_part, out + u * Rows + first);
                }
            }
        }
    }

    /// Keys from memory are read in longer pieces where registers hold them; halves have conversions to do, too.
    template <class T>
    ATTENTA_ALWAYS_INLINE Batch dots_of_part(const RowStream& now, std::int64_t t, simd::PrefetchQueue& queue,
                                             int first) const {
        const float* const q = queries() + first * q_stride_;
        if constexpr (L == 16 && dot_part == 4 && std::is_same_v<T, float>)
            if (from_memory_ && tuning_.long_dots)
                return simd::dot_long_rows<Arch, dot_part, 2, 4, T>(now.rows + t, now.offset, queue, q, dim_);
        return simd::dot_rows<Arch, dot_part, T>(now.rows + t, now.offset, queue, q, dim_);
    }

    simd::PrefetchQueue first_values_of_head() const {
        const std::int64_t bytes = job_.kv.v.row_bytes();
        return values_of(head_).prefetch_queue(tuning_.prefetch_distance / bytes, tuning_.most_values, bytes);
    }

    /// Memory would idle meanwhile: prefetches values behind those that the keys' pass has prefetched.
    void weights(simd::PrefetchQueue& queue) {
        const std::int64_t steps = (block_.count + Weights::tokens - 1) / Weights::tokens;
        std::fill(scores_of_head() + block_.count * Rows, scores_of_head() + steps * width, minus_infinity);
        for (std::int64_t r = 0; r < rows_; r += L)
            Weights::update(scores_of_head() + r, steps, x_.m + head_ * width + r, x_.l + head_ * width + r,
                            alphas() + r, queue);
    }

    void decay_outputs() const {
        for (std::int64_t r = 0; r < rows_; ++r)
            if (alphas()[r] != 1.f) simd::scale_row<Arch>(outputs() + r * o_stride_, o_stride_, alphas()[r]);
    }

    template <class T>
    void values() {
        const std::int64_t step = value_step<T>();
        RowPass pass{{}, {}, end_ - first_, step, turns(job_.kv.v, step)};
        for_heads([&] {
            pass.now[head_ - first_] = values_of(head_);
            pass.after[head_ - first_] = keys_of(head_ + end_ - first_);
        });
        for (std::int64_t t = 0; t < block_.count; t += step) {
            const std::int64_t here = std::min(step, block_.count - t);
            for_heads([&] {
                if (nan_safe_)
                    nan_safe_values<T>(pass.now[head_ - first_], t, here);
                else
                    add_values<T>(pass, t, here);
            });
        }
    }

    template <class T>
    [[gnu::noinline]] void add_values(const RowPass& pass, std::int64_t t, std::int64_t n) const {
        const RowStream& now = pass.now[head_ - first_];
        const std::byte* const* const v = now.rows + t;
        auto queue = pass.prefetch_queue(head_ - first_, t, n, job_.kv.v.row_bytes());
        const auto add = [&]<int R>(std::integral_constant<int, R>, std::int64_t r) {
            simd::add_values<Arch, R, Rows, T>(v, now.offset, queue, n, scores_of_head() + t * Rows + r, Rows, dim_v_,
                                               outputs() + r * o_stride_, o_stride_);
        };
        std::int64_t r = 0;
        if constexpr (!dots) {
            constexpr int many = simd::TileShape<Arch>::rows;
            constexpr std::int64_t by_eight = std::is_same_v<T, float> ? two_eights : 0;
            for (; r + many <= rows_ && r + by_eight != rows_; r += many) add(std::integral_constant<int, many>{}, r);
            if constexpr (many > 8)
                for (; r + 8 <= rows_; r += 8) add(std::integral_constant<int, 8>{}, r);
        }
        for (; r + 4 <= rows_; r += 4) add(std::integral_constant<int, 4>{}, r);
        for (; r + 2 <= rows_; r += 2) add(std::integral_constant<int, 2>{}, r);
        for (; r < rows_; ++r) add(std::integral_constant<int, 1>{}, r);
    }

    template <class T>
    void nan_safe_values(const RowStream& values, std::int64_t t, std::int64_t n) const {
        for (std::int64_t r = 0; r < rows_; ++r)
            for (std::int64_t i = t; i < t + n; ++i)
                if (scores_of_head()[i * Rows + r] != 0.f)
                    simd::add_row<Arch>(outputs() + r * o_stride_, reinterpret_cast<const T*>(values.row(i)), dim_v_,
                                        scores_of_head()[i * Rows + r]);
    }

    const FewTuning& tuning_;
    const bool adjacent_;                 ///< rows of neighbouring heads lie side by side in memory
    const std::int64_t heads_in_flight_;  ///< heads that are interleaved
    const bool from_memory_;              ///< K and V do not fit in a cache
    const bool whole_;                    ///< they are read one row after the other
    const std::int64_t most_streams_;     ///< places that their rows are taken from in turn, which only memory likes
    Whole whole_rows_;
    Cover covered_[most_heads] = {};  ///< of the heads in flight, or of the blocks of a head's run
    bool nan_safe_ = false;
    Stopwatch watch_;
};

}  // namespace attention

ATTENTA_END
