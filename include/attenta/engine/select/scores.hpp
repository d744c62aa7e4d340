// Scores of the select loop: query rows against a range of keys. See engine/select/request.hpp.
#pragma once

#include <attenta/engine/select/kernels.hpp>
#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/pack.hpp>
#include <attenta/simd/register_tile.hpp>
#include <attenta/simd/score_rows.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

ATTENTA_BEGIN

namespace select {

/// Rows are [query][head]. Scores of a few rows with a block of keys stand in a tile [row][key_block], from where they go
/// to the rows of the job, or in those at once.
template <class Arch>
class ScoreLoop {
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr int most_rows = simd::TileShape<Arch>::rows, vectors = simd::TileShape<Arch>::vectors;
    static constexpr std::int64_t width = vectors * L;
    static_assert(key_block % width == 0 && ScoreScratch::most_rows % most_rows == 0);

public:
    ScoreLoop(const Job& job, const ScoreTask& task, std::byte* memory)
        : job_(job),
          r_(*job.request),
          task_(task),
          heads_(r_.q.heads / r_.key_heads()),
          rows_((task.query_end - task.query_begin) * heads_),
          dim_(r_.q.dim),
          added_(heads_ / job.rows),
          plain_(added_ == 1 && !r_.relu && r_.pool == 1 && !r_.weights.data),
          arena_(memory),
          x_(arena_, dim_, rows_) {}

    void run() {
        load_queries();
        const std::int64_t end = std::min(task_.key_end, r_.visible_keys.end(r_.q_offset + task_.query_end - 1));
        if (r_.panels) return simd::with_type(r_.panels.dtype, [&]<class T>(const T*) { panels<T>(end); });
        for (key_ = task_.key_begin; key_ < end; key_ += key_block) {
            count_ = std::min(key_block, end - key_);
            r_.keys.locate(0, key_, count_, x_.rows, x_.unused);
            std::fill_n(x_.rows + count_, ScoreScratch::most_lanes, x_.rows[count_ - 1]);
            simd::with_type(r_.keys.k.dtype, [&]<class T>(const T*) { block<T>(); });
        }
    }

private:
    bool dots() const { return !r_.panels && rows_ <= most_dot_rows; }
    /// Rows of a register tile: no more than there are, where they are few.
    int tile_rows() const { return rows_ == 1 ? 1 : rows_ == 2 ? 2 : rows_ <= 4 ? 4 : most_rows; }
    static_assert(most_rows >= 6);

    template <class F>
    void with_tile_rows(F&& f) const {
        switch (r_.panels ? tile_rows() : most_rows) {
            case 1:
                return f(std::integral_constant<int, 1>{});
            case 2:
                return f(std::integral_constant<int, 2>{});
            case 4:
                return f(std::integral_constant<int, 4>{});
            default:
                return f(std::integral_constant<int, most_rows>{});
        }
    }

    const float* query(std::int64_t row) const {
        const std::int64_t r = std::min(row, rows_ - 1);
        return r_.q.row(task_.key_head * heads_ + r % heads_, task_.query_begin + r / heads_);
    }

    /// For dot products one after the other, for tiles in panels.
    void load_queries() {
        if (dots()) {
            for_dots([&]<int R>(std::integral_constant<int, R>, std::int64_t first) {
                const float* rows[R];
                for (int r = 0; r < R; ++r) rows[r] = query(first + r);
                simd::interleave_rows<Arch, R>(rows, dim_, 1.f, x_.queries + first * round_up(dim_, L));
            });
            return;
        }
        with_tile_rows([&]<int R>(std::integral_constant<int, R>) {
            for (std::int64_t b = 0; b < rows_; b += R) {
                const float* rows[R];
                for (std::int64_t r = 0; r < R; ++r) rows[r] = query(b + r);
                simd::pack_queries<Arch, R>(rows, dim_, 1.f, x_.queries + b * dim_);
            }
        });
    }

    /// f(R, first row): all rows in pieces that dot products take together.
    template <class F>
    void for_dots(F&& f) const {
        constexpr int most = static_cast<int>(std::min<std::int64_t>(4, L / 2));
        std::int64_t r = 0;
        if constexpr (most == 4)
            for (; r + 4 <= rows_; r += 4) f(std::integral_constant<int, 4>{}, r);
        for (; r + 2 <= rows_; r += 2) f(std::integral_constant<int, 2>{}, r);
        for (; r < rows_; ++r) f(std::integral_constant<int, 1>{}, r);
    }

    template <class T>
    void block() {
        if (dots())
            return for_dots([&]<int R>(std::integral_constant<int, R>, std::int64_t first) { dot_rows<R, T>(first); });
        simd::pack_keys<Arch, vectors, T>(x_.rows, r_.keys.k.head_bytes(task_.key_head), count_, dim_, x_.keys);
        // Rows of the job may stand as far apart as those of a tile.
        const bool in_place = plain_ && heads_ == job_.rows;
        for (std::int64_t b = 0; b < rows_; b += most_rows) {
            const bool whole = in_place && b + most_rows <= rows_;
            float* const to = whole ? row(b) + key_ : x_.tile;
            const std::int64_t stride = whole ? job_.stride : key_block;
            for (std::int64_t key = 0; key < count_; key += width) {
                simd::RegisterTile<Arch, most_rows, vectors> sum;
                sum.zero();
                sum.template add<1>(x_.queries + b * dim_, most_rows, x_.keys + key * dim_, width, dim_);
                sum.store(to + key, stride);
            }
            for (std::int64_t r = b; !whole && r < std::min(b + most_rows, rows_); ++r)
                give_row(r, x_.tile + (r - b) * key_block);
        }
    }

    /// The same of keys that are packed, panels from several places in turn, for they may come from memory.
    template <class T>
    void panels(std::int64_t end) {
        const T* const keys = static_cast<const T*>(r_.panels.data) + task_.key_head * r_.panels.head_stride;
        const std::int64_t count = ceil_div(end - task_.key_begin, Panels::width);
        const auto key_at = [&](std::int64_t i) {
            return task_.key_begin + simd::in_streams(std::min(i, count - 1), count, panel_streams) * Panels::width;
        };
        for (std::int64_t i = 0; i < count; ++i) {
            key_ = key_at(i);
            count_ = std::min(Panels::width, end - key_);
            const T* const stored = keys + key_ * dim_;
            ahead_ = {reinterpret_cast<const std::byte*>(keys + key_at(i + panel_streams) * dim_),
                      dim_ * Panels::width * static_cast<std::int64_t>(sizeof(T))};
            with_tile_rows([&]<int R>(std::integral_constant<int, R>) { panel<R>(stored); });
        }
    }

    template <int R, class T>
    void panel(const T* keys) {
        constexpr std::int64_t step = std::min(width, Panels::width);
        // As many lines as the product reads between two of its calls, or more.
        constexpr int together = simd::RegisterTile<Arch, R, static_cast<int>(step / L)>::together;
        constexpr int lines = std::max(1, together * static_cast<int>(Panels::width) / simd::per_line<T>);
        const bool in_place = plain_ && heads_ == job_.rows;
        for (std::int64_t b = 0; b < rows_; b += R) {
            const bool whole = in_place && b + R <= rows_;
            float* const to = whole ? row(b) + key_ : x_.tile;
            const std::int64_t stride = whole ? job_.stride : key_block;
            for (std::int64_t n = 0; n < Panels::width; n += step) {
                simd::RegisterTile<Arch, R, static_cast<int>(step / L)> sum;
                sum.zero();
                sum.template add<1>(x_.queries + b * dim_, R, keys + n, Panels::width, dim_,
                                    [&] { ahead_.template prefetch<lines>(); });
                sum.store(to + n, stride);
            }
            for (std::int64_t r = b; !whole && r < std::min(b + R, rows_); ++r)
                give_row(r, x_.tile + (r - b) * key_block);
        }
    }

    /// Scores of R rows with the block's keys.
    template <int R, class T>
    [[gnu::noinline]] void dot_rows(std::int64_t first) {
        constexpr std::int64_t keys = L / R;
        const std::int64_t offset = r_.keys.k.head_bytes(task_.key_head), bytes = r_.keys.k.row_bytes();
        const float* const q = x_.queries + first * round_up(dim_, L);
        const std::int64_t ahead = std::min(count_, std::max<std::int64_t>(1, prefetch_distance / bytes));
        simd::PrefetchQueue queue(x_.rows + ahead, x_.rows + count_, offset, bytes);
        for (std::int64_t t = 0; t < count_; t += keys) {
            const simd::Batch<Arch> s = simd::dot_rows<Arch, R, T>(x_.rows + t, offset, queue, q, dim_);
            float lane[static_cast<std::size_t>(L)];
            s.store_unaligned(lane);
            for (std::int64_t u = 0; u < keys; ++u)
                for (int r = 0; r < R; ++r) x_.tile[r * key_block + t + u] = lane[u * R + r];
        }
        for (int r = 0; r < R; ++r) give_row(first + r, x_.tile + r * key_block);
    }

    /// Where the scores of a row go, or are added to.
    float* row(std::int64_t r) const {
        return job_.row(task_.key_head, task_.query_begin + r / heads_) + r % heads_ / added_ * job_.stride;
    }

    void give_row(std::int64_t r, const float* s) const {
        float* const to = row(r);
        const std::int64_t query = task_.query_begin + r / heads_, head = r % heads_;
        if (r_.pool > 1) return give_units(s, r_.visible_keys.end(r_.q_offset + query) - key_, to);
        if (plain_) {
            std::copy_n(s, round_up(count_, L), to + key_);
            return;
        }
        const float weight = r_.weights.data ? r_.weights.row(task_.key_head * heads_ + head, query)[0] : 1.f;
        const simd::Batch<Arch> factor(weight), least(r_.relu ? 0.f : minus_infinity), zero(0.f);
        const bool first = head % added_ == 0;
        for (std::int64_t i = 0; i < count_; i += L) {
            const simd::Batch<Arch> act = simd::max<Arch>(least, simd::load<Arch>(s + i)),
                                    before = first ? zero : simd::load<Arch>(to + key_ + i);
            simd::fma<Arch>(factor, act, before).store_unaligned(to + key_ + i);
        }
    }

    /// The largest of each unit's keys, of which `visible` of this block count. A unit may go on in the next block.
    void give_units(const float* s, std::int64_t visible, float* to) const {
        const std::int64_t end = std::min(count_, visible);
        for (std::int64_t i = 0; i < end;) {
            const std::int64_t key = key_ + i, n = std::min(r_.pool - key % r_.pool, end - i);
            const float top = simd::row_max<Arch>(s + i, n);
            float& unit = to[key / r_.pool];
            unit = key % r_.pool == 0 ? top : std::max(unit, top);
            i += n;
        }
    }

    const Job& job_;
    const Request& r_;
    const ScoreTask& task_;
    const std::int64_t heads_, rows_, dim_, added_;
    const bool plain_;
    Arena arena_;
    ScoreScratch x_;
    std::int64_t key_ = 0, count_ = 0;
    simd::LinePrefetch ahead_;  ///< a panel that comes soon
};

}  // namespace select

ATTENTA_END
