// The tile loop of one instruction set. See engine/attention/request.hpp.
#pragma once

#include <attenta/engine/attention/row_ends.hpp>
#include <attenta/engine/common/normalizer.hpp>
#include <attenta/engine/lists/key_cursor.hpp>
#include <attenta/engine/tile/scratch.hpp>
#include <attenta/simd/codes.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/prefetch.hpp>
#include <attenta/simd/register_tile.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

ATTENTA_BEGIN

namespace attention {

/// Prefetches rows of K and V of the next block: a share of them with each of `calls` calls.
class SharedPrefetch {
public:
    SharedPrefetch() = default;
    SharedPrefetch(const simd::KeyValuePrefetch& rows, std::int64_t calls)
        : rows_(rows), lines_(rows.lines() / calls + 1) {}
    void prefetch() {
        for (std::int64_t i = 0; i < lines_; ++i) rows_.prefetch();
    }

private:
    simd::KeyValuePrefetch rows_;
    std::int64_t lines_ = 0;
};

/// One task of the tile regime.
template <class Arch, Normalizer N>
class TileLoop {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr int most_rows = simd::TileShape<Arch>::rows, vectors = simd::TileShape<Arch>::vectors;
    static constexpr std::int64_t width = vectors * L;
    static_assert(key_block % width == 0 && TileScratch::most_rows % most_rows == 0 &&
                  panels_per_tile * most_rows <= rows_per_tile);

    /// A micro-panel of query rows, which go through the register tile together, and the keys of the current block that any
    /// of them sees.
    struct QueryPanel {
        std::int64_t begin = 0, rows = 0;  // within the task's rows
        int kind = 0;                      // its register tile has most_rows · (3 - kind) / 3 rows
        std::int64_t key_begin = 0, key_end = 0;
        bool masked = false;

        int tile_rows() const { return most_rows * (3 - kind) / 3; }
        std::int64_t first_vector() const { return key_begin / L * L; }
        std::int64_t last_vector() const { return round_up(key_end, L); }
    };

public:
    TileLoop(const Job& job, const Task& task, std::byte* memory)
        : job_(job),
          task_(task),
          arena_(memory),
          x_(arena_, job.kv,
             std::min(task.row_end - task.row_begin, rows_per_task(job.tuning->tile, job.kv.key_dim(), job.kv.v.dim))),
          dim_(job.kv.key_dim()),
          dim_v_(job.kv.v.dim),
          o_stride_(round_up(dim_v_, L)),
          watch_(job.phases) {}

    void run() {
        const std::int64_t step = rows_per_task(job_.tuning->tile, dim_, dim_v_);
        for (std::int64_t head = task_.head_begin; head < task_.head_end; ++head)
            for (std::int64_t r = task_.row_begin; r < task_.row_end; r += step) {
                head_ = head;
                first_ = r;
                rows_ = std::min(step, task_.row_end - r);
                nan_safe_ = false;
                // An edit that accumulates must run once: what its weights meet is looked at before.
                if (pass() || job_.weight_edit_count > 0) continue;
                // A NaN or infinity met a weight of zero, or is a row's true result: once more, skipping zero weights.
                nan_safe_ = true;
                pass();
            }
    }

private:
    /// All keys for rows [first_, first_ + rows_). Returns whether every output is finite.
    bool pass() {
        load_queries();
        const Interval seen = visible_keys();
        KeyCursor keys(job_.kv, task_.sequence, head_, task_.listed);
        std::int64_t j = task_.listed ? seen.begin : seen.begin / key_block * key_block;
        locate_next(keys, j, seen);
        for (; j < seen.end; j += key_block) {
            std::swap(x_.k_rows, x_.k_next);
            std::swap(x_.v_rows, x_.v_next);
            std::swap(x_.positions, x_.positions_next);
            block_ = next_;
            locate_next(keys, j + key_block, seen);
            prefetch_ = prefetch_next_block();
            if (cover(0, rows_) != Cover::none) key_block_pass();
        }
        const bool finite = finish();
        watch_.lap(Phase::merge);
        return finite;
    }

    QueryPanel panel_at(std::int64_t begin) const {
        QueryPanel q;
        q.begin = begin;
        q.rows = std::min<std::int64_t>(most_rows, rows_ - begin);
        q.kind = q.rows <= most_rows / 3 ? 2 : q.rows <= most_rows * 2 / 3 ? 1 : 0;
        return q;
    }

    void load_queries() {
        std::fill_n(x_.o, round_up(rows_, most_rows) * o_stride_, 0.f);
        for (std::int64_t r = 0; r < rows_; ++r) {
            x_.row[r] = task_.query_row(head_, first_ + r);
            const RowStatistics row = first_statistics(job_, task_, x_.row[r]);
            x_.m[r] = row.max;
            x_.l[r] = row.sum;
            if (task_.chain && !row.empty()) simd::add_row<Arch>(x_.o + r * o_stride_, output(r), dim_v_, row.sum);
        }
        for (std::int64_t b = 0; b < rows_; b += most_rows) {
            // Rows behind the last repeat it; nobody looks at their results.
            const QueryPanel q = panel_at(b);
            const float* rows[most_rows];
            for (std::int64_t r = 0; r < most_rows; ++r) {
                const QueryRow& row = x_.row[b + std::min(r, q.rows - 1)];
                rows[r] = job_.q.row(row.head, task_.q_begin + row.index);
            }
            with_rows(q.kind, [&]<int R>(std::integral_constant<int, R>) {
                simd::pack_queries<Arch, R>(rows, dim_, job_.scale, x_.q + b * dim_);
            });
        }
    }

    Interval visible_keys() const {
        const Interval all{task_.key_begin, task_.key_end};
        if (!job_.mask || job_.kv.positions || task_.listed) return all;
        return intersect(all, job_.mask.hull(x_.row[0], x_.row[rows_ - 1]));
    }

    /// Finds the rows of the block at `begin`.
    void locate_next(KeyCursor& keys, std::int64_t begin, const Interval& seen) {
        const std::int64_t count = std::clamp<std::int64_t>(seen.end - begin, 0, key_block);
        next_ = keys.locate(begin, count, x_.k_next, x_.v_next, x_.positions_next);
    }

    /// The rows of the next block, for requests to memory meanwhile: packing would wait for each of them.
    SharedPrefetch prefetch_next_block() const {
        const std::int64_t calls = ceil_div(rows_, most_rows) * (key_block + o_stride_) / width;
        const KvView::Rows &k = job_.kv.k, &v = job_.kv.v;
        return {{{x_.k_next, x_.k_next + next_.count, k.head_bytes(head_), k.row_bytes()},
                 {x_.v_next, x_.v_next + (job_.values ? next_.count : 0), v.head_bytes(head_), v.row_bytes()}},
                calls};
    }

    Cover cover(std::int64_t begin, std::int64_t end) const {
        return job_.mask ? job_.mask.classify(x_.row[begin], x_.row[end - 1], block_) : Cover::all;
    }

    void key_block_pass() {
        const KvView& kv = job_.kv;
        const auto pack_keys = [&]<class T>(const T*, const std::byte* const* rows, std::int64_t offset) {
            simd::pack_keys<Arch, vectors, T>(rows, offset, block_.count, dim_, x_.k);
        };
        const auto pack_values = [&]<class T>(const T*, const std::byte* const* rows, std::int64_t offset) {
            simd::pack_values<Arch, vectors, T>(rows, offset, block_.count, key_block, dim_v_, x_.v);
        };
        if (widens_keys(kv)) {
            simd::widen_keys<Arch>(kv, head_, x_.k_rows, x_.v_rows, block_.count, x_.decoded_row(0), x_.decoded_stride,
                                   x_.decoded);
            pack_keys(static_cast<const float*>(nullptr), decoded_rows(), 0);
        } else {
            simd::with_type(kv.k.dtype, [&](const auto* type) { pack_keys(type, x_.k_rows, kv.k.head_bytes(head_)); });
        }
        if (job_.values && kv.v.dtype == Dtype::codes) {
            simd::widen_codes<Arch>(kv.v, x_.v_rows, kv.v.head_bytes(head_), block_.count, x_.decoded_row(0),
                                    x_.decoded_stride, x_.decoded);
            pack_values(static_cast<const float*>(nullptr), decoded_rows(), 0);
        } else if (job_.values) {
            simd::with_type(kv.v.dtype,
                            [&](const auto* type) { pack_values(type, x_.v_rows, kv.v.head_bytes(head_)); });
        }
        if (job_.values && job_.weight_edit_count > 0) nan_safe_ = !values_are_finite();
        watch_.lap(Phase::pack);
        constexpr std::int64_t step = panels_per_tile * most_rows;
        for (std::int64_t b = 0; b < rows_; b += step) tile_pass(b, std::min(b + step, rows_));
    }

    /// Of the packed block.
    bool values_are_finite() const {
        for (std::int64_t c = 0; c < dim_v_; c += width)
            if (!simd::is_finite_row<Arch>(x_.v + c * key_block, block_.count * std::min(width, o_stride_ - c)))
                return false;
        return true;
    }

    const std::byte* const* decoded_rows() const {
        for (std::int64_t i = 0; i < block_.count; ++i)
            x_.decoded_rows[i] = reinterpret_cast<const std::byte*>(x_.decoded_row(i));
        return x_.decoded_rows;
    }

    void tile_pass(std::int64_t begin, std::int64_t end) {
        const Cover covered = cover(begin, end);
        if (covered == Cover::none) return;
        QueryPanel panels[panels_per_tile];
        std::int64_t n = 0;
        for (std::int64_t b = begin; b < end; b += most_rows) {
            QueryPanel q = panel_at(b);
            if (see(q, covered, begin)) panels[n++] = q;
        }
        for (std::int64_t key = 0; key < block_.count; key += width)
            for (std::int64_t i = 0; i < n; ++i)
                if (key < panels[i].key_end && key + width > panels[i].key_begin) {
                    prefetch_.prefetch();
                    scores(panels[i], key, begin);
                }
        watch_.lap(Phase::scores);
        for (std::int64_t i = 0; i < n; ++i) weights(panels[i], begin);
        watch_.lap(Phase::softmax);
        if (!job_.values) return;
        for (std::int64_t c = 0; c < dim_v_; c += width)
            for (std::int64_t i = 0; i < n; ++i) {
                prefetch_.prefetch();
                values(panels[i], c, begin);
            }
        watch_.lap(Phase::values);
    }

    float* scores_of(const QueryPanel& q, std::int64_t tile_begin) const {
        return x_.s + (q.begin - tile_begin) * key_block;
    }
    std::uint64_t* bits_of(std::int64_t row_in_tile) const { return x_.bits + row_in_tile * words_per_block; }

    /// Finds the keys that the panel sees; false if there are none.
    bool see(QueryPanel& q, Cover covered, std::int64_t tile_begin) {
        q.key_end = block_.count;
        if (covered == Cover::some) covered = cover(q.begin, q.begin + q.rows);
        q.masked = covered != Cover::all || block_.count % L != 0;
        if (covered == Cover::none) return false;
        if (!q.masked) return true;
        std::uint64_t any[words_per_block] = {};
        for (std::int64_t r = 0; r < q.rows; ++r) {
            std::uint64_t* words = bits_of(q.begin - tile_begin + r);
            std::fill_n(words, words_per_block, ~std::uint64_t{0});
            detail::keep_bits(words, key_block, 0, block_.count);
            if (covered != Cover::all) job_.mask.bits(x_.row[q.begin + r], block_, words);
            for (std::int64_t w = 0; w < words_per_block; ++w) any[w] |= words[w];
        }
        std::int64_t low = 0, high = words_per_block - 1;
        while (low < words_per_block && any[low] == 0) ++low;
        if (low == words_per_block) return false;
        while (any[high] == 0) --high;
        q.key_begin = low * 64 + std::countr_zero(any[low]);
        q.key_end = high * 64 + 64 - std::countl_zero(any[high]);
        return true;
    }

    template <class F>
    static void with_rows(int kind, F&& f) {
        switch (kind) {
            case 0:
                return f(std::integral_constant<int, most_rows>{});
            case 1:
                return f(std::integral_constant<int, most_rows * 2 / 3>{});
            default:
                return f(std::integral_constant<int, most_rows / 3>{});
        }
    }

    /// With the micro-panel of keys that begins at `key`.
    void scores(const QueryPanel& q, std::int64_t key, std::int64_t tile_begin) {
        with_rows(q.kind, [&]<int R>(std::integral_constant<int, R>) {
            simd::RegisterTile<Arch, R, vectors> tile;
            tile.zero();
            tile.template add<1>(x_.q + q.begin * dim_, R, x_.k + key * dim_, width, dim_);
            tile.store(scores_of(q, tile_begin) + key, key_block);
        });
    }

    /// Scores of a panel become weights; its rows' statistics move on.
    void weights(const QueryPanel& q, std::int64_t tile_begin) {
        float* const scores = scores_of(q, tile_begin);
        const std::int64_t begin = q.first_vector(), n = q.last_vector() - begin;
        // Elsewhere no scores were computed.
        call(job_.edits, job_.edit_count, q, scores + begin, block_.slice(begin, std::min(n, block_.count - begin)));
        for (std::int64_t r = 0; q.masked && r < q.rows; ++r)
            simd::mask_row<Arch>(scores + r * key_block, begin, begin + n, bits_of(q.begin - tile_begin + r));
        for (std::int64_t r = 0; job_.scores && r < q.rows; ++r)
            std::copy_n(scores + r * key_block + begin, std::min(n, block_.count - begin),
                        job_.scores_of(x_.row[q.begin + r], task_.q_begin, block_.begin + begin));
        float *const m = x_.m + q.begin, *const l = x_.l + q.begin, *const alpha = x_.alpha + (q.begin - tile_begin);
        if (job_.local_weights)
            LocalWeights<Arch>::update(scores + begin, key_block, q.rows, n, m, l, alpha);
        else
            N::update(scores + begin, key_block, q.rows, n, m, l, alpha);
        std::fill(alpha + q.rows, alpha + q.tile_rows(), 0.f);
        if (job_.has_value_gain(task_.sequence))
            for (std::int64_t r = 0; r < q.rows; ++r)
                simd::multiply_row<Arch>(scores + r * key_block, job_.value_gain + block_.begin, block_.count);
        if (job_.weight_edit_count > 0) {
            for (std::int64_t r = 0; r < q.rows; ++r) {
                std::fill_n(scores + r * key_block, begin, 0.f);
                std::fill(scores + r * key_block + begin + n, scores + (r + 1) * key_block, 0.f);
            }
            call(job_.weight_edits, job_.weight_edit_count, q, scores, block_);
        }
    }

    void call(const EditCall* edits, std::int64_t count, const QueryPanel& q, float* scores,
              const KeyBlock& keys) const {
        for (std::int64_t e = 0; e < count; ++e) {
            ScoreTile t{scores, key_block, q.rows, x_.row + q.begin, keys};
            edits[e].function(edits[e].parameters, t);
        }
    }

    void values(const QueryPanel& q, std::int64_t column, std::int64_t tile_begin) {
        const float* p = scores_of(q, tile_begin) + q.key_begin;
        const float* alpha = x_.alpha + (q.begin - tile_begin);
        float* o = x_.o + q.begin * o_stride_ + column;
        const std::int64_t here = std::min(width, o_stride_ - column), keys = q.key_end - q.key_begin;
        const float* v = x_.v + column * key_block + q.key_begin * here;
        if (nan_safe_) return nan_safe_values(q, p, alpha, v, here, keys, o);
        with_rows(q.kind, [&]<int R>(std::integral_constant<int, R>) {
            const auto add = [&]<int V>(std::integral_constant<int, V>) ATTENTA_FLATTEN {
                // A block's sum starts anew: over millions of keys one running sum would lose most of what it is given.
                simd::RegisterTile<Arch, R, V> tile;
                tile.zero();
                tile.template add<key_block>(p, 1, v, here, keys);
                tile.add_scaled(alpha, o, o_stride_);
                tile.store(o, o_stride_);
            };
            if (here == width)
                add(std::integral_constant<int, vectors>{});
            else
                add(std::integral_constant<int, 1>{});
        });
    }

    void nan_safe_values(const QueryPanel& q, const float* p, const float* alpha, const float* v, std::int64_t columns,
                         std::int64_t keys, float* o) const {
        for (std::int64_t r = 0; r < q.rows; ++r) {
            float sum[static_cast<std::size_t>(width)] = {};
            for (std::int64_t j = 0; j < keys; ++j)
                if (p[r * key_block + j] != 0.f)
                    simd::add_row<Arch>(sum, v + j * columns, columns, p[r * key_block + j]);
            simd::add_row<Arch>(sum, o + r * o_stride_, columns, alpha[r]);
            std::copy_n(sum, columns, o + r * o_stride_);
        }
    }

    /// Writes the results of the rows. Returns whether all outputs are finite. A chain that has to begin once more finds the
    /// rows as they were.
    bool finish() {
        const bool may_begin_again = !nan_safe_ && job_.weight_edit_count == 0;
        if (task_.chain && may_begin_again && !simd::is_finite_row<Arch>(x_.o, rows_ * o_stride_)) return false;
        bool finite = true;
        for (std::int64_t r = 0; r < rows_; ++r) {
            if (job_.values) simd::prefetch_row(output(std::min(r + output_rows_ahead, rows_ - 1)), dim_v_);
            const RowStatistics row{x_.m[r], x_.l[r]};
            const float factor = job_.local_weights ? 1.f : N::output_factor(row);
            if (!write_row<Arch>(job_, task_, x_.row[r], row, factor, x_.o + r * o_stride_)) finite = false;
        }
        return finite;
    }

    const float* output(std::int64_t r) const { return job_.o.row(x_.row[r].head, task_.q_begin + x_.row[r].index); }

    const Job& job_;
    const Task& task_;
    Arena arena_;
    TileScratch x_;
    std::int64_t dim_, dim_v_, o_stride_;
    std::int64_t head_ = 0, first_ = 0, rows_ = 0;
    KeyBlock block_, next_;
    SharedPrefetch prefetch_;
    bool nan_safe_ = false;
    Stopwatch watch_;
};

}  // namespace attention

ATTENTA_END
