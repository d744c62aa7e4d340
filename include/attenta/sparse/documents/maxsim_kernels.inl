#pragma once

#include <attenta/simd/pack.hpp>
#include <attenta/simd/register_tile.hpp>
#include <attenta/sparse/documents/maxsim_kernels.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

/// The vectors of a document come in packed blocks; similarities of a block with a few query vectors are a register tile,
/// of which each lane keeps its largest.
template <class Arch>
class MaxsimLoop {
    using B = simd::Batch<Arch>;
    static constexpr std::int64_t L = simd::lanes<Arch>;
    static constexpr int most_rows = simd::TileShape<Arch>::rows, vectors = simd::TileShape<Arch>::vectors;
    static constexpr std::int64_t width = vectors * L, key_block = MaxsimScratch::key_block;
    static_assert(MaxsimScratch::most_rows % most_rows == 0 && key_block % width == 0);

public:
    MaxsimLoop(const MaxsimJob& job, std::byte* memory)
        : job_(job), rows_(job.x.q.rows), dim_(job.x.q.cols), arena_(memory), x_(arena_, rows_, dim_) {
        for (std::int64_t b = 0; b < rows_; b += most_rows) {
            const float* rows[most_rows];
            for (std::int64_t r = 0; r < most_rows; ++r) rows[r] = job.x.q.row(0, std::min(b + r, rows_ - 1));
            simd::pack_queries<Arch, most_rows>(rows, dim_, 1.f, x_.queries + b * dim_);
        }
    }

    void document(std::int64_t document) {
        const auto n = static_cast<std::size_t>(document);
        const std::int64_t begin = job_.x.doc_ptr[n], count = job_.x.doc_ptr[n + 1] - begin;
        std::fill_n(x_.best, rows_ * L, -std::numeric_limits<float>::infinity());
        std::fill_n(x_.where, rows_ * L, 0.f);
        for (std::int64_t key = 0; key < count; key += key_block)
            block(begin + key, key, std::min(key_block, count - key));
        double sum = 0;
        for (std::int64_t r = 0; r < rows_; ++r) {
            const auto [most, at] = best_of_lanes(r);
            sum += double{std::max(most, job_.floor)};
            if (job_.out.argmax) job_.out.argmax[document * rows_ + r] = at;
        }
        job_.out.score[document] = static_cast<float>(sum);
    }

private:
    /// Vectors [first, first + count) of d, number `key` and on of their document.
    void block(std::int64_t first, std::int64_t key, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i)
            x_.rows[i] = reinterpret_cast<const std::byte*>(job_.x.d.row(0, first + i));
        simd::pack_keys<Arch, vectors, float>(x_.rows, 0, count, dim_, x_.keys);
        for (std::int64_t b = 0; b < rows_; b += most_rows) {
            for (std::int64_t i = 0; i < count; i += width)
                similarities(x_.queries + b * dim_, x_.keys + i * dim_, x_.tile + i);
            for (std::int64_t r = b; r < std::min(b + most_rows, rows_); ++r)
                keep_best(r, x_.tile + (r - b) * key_block, key, count);
        }
    }

    void similarities(const float* queries, const float* keys, float* to) const {
        if (job_.similarity == MaxsimSimilarity::l2) return distances(queries, keys, to);
        simd::RegisterTile<Arch, most_rows, vectors> sum;
        sum.zero();
        sum.template add<1>(queries, most_rows, keys, width, dim_);
        sum.store(to, key_block);
    }

    /// Differences are squared as they are: of vectors near each other nothing cancels.
    void distances(const float* queries, const float* keys, float* to) const {
        B sum[most_rows][vectors];
        for (auto& row : sum)
            for (B& s : row) s = B(0.f);
        for (std::int64_t c = 0; c < dim_; ++c, queries += most_rows, keys += width) {
            B key[vectors];
            simd::unrolled<vectors>([&](auto n) ATTENTA_FLATTEN { key[n] = simd::load<Arch>(keys + n * L); });
            simd::unrolled<most_rows>([&](auto r) ATTENTA_FLATTEN {
                const B query(queries[r]);
                simd::unrolled<vectors>([&](auto n) ATTENTA_FLATTEN {
                    const B difference = query - key[n];
                    sum[r][n] = simd::fma<Arch>(-difference, difference, sum[r][n]);
                });
            });
        }
        simd::unrolled<most_rows>([&](auto r) ATTENTA_FLATTEN {
            simd::unrolled<vectors>([&](auto n)
                                        ATTENTA_FLATTEN { sum[r][n].store_unaligned(to + r * key_block + n * L); });
        });
    }

    /// A later vector takes a lane only where it is larger.
    void keep_best(std::int64_t row, const float* s, std::int64_t key, std::int64_t count) {
        B best = simd::load<Arch>(x_.best + row * L), where = simd::load<Arch>(x_.where + row * L);
        for (std::int64_t i = 0; i < count; i += L) {
            B x = simd::load<Arch>(s + i);
            if (i + L > count)
                x = simd::select<Arch>((1u << (count - i)) - 1, x, B(-std::numeric_limits<float>::infinity()));
            const auto larger = x > best;
            best = xsimd::select(larger, x, best);
            where = xsimd::select(larger, B(static_cast<float>((key + i) / L)), where);
        }
        best.store_unaligned(x_.best + row * L);
        where.store_unaligned(x_.where + row * L);
    }

    struct Best {
        float most;
        std::int64_t at;
    };
    Best best_of_lanes(std::int64_t row) const {
        Best best{-std::numeric_limits<float>::infinity(), 0};
        for (std::int64_t lane = 0; lane < L; ++lane) {
            const float x = x_.best[row * L + lane];
            const std::int64_t at = static_cast<std::int64_t>(x_.where[row * L + lane]) * L + lane;
            if (x > best.most || (x == best.most && at < best.at)) best = {x, at};
        }
        return best;
    }

    const MaxsimJob& job_;
    const std::int64_t rows_, dim_;
    Arena arena_;
    MaxsimScratch x_;
};

template <class Arch>
void run_maxsim(const MaxsimJob& job, std::int64_t begin, std::int64_t end, std::byte* scratch) {
    MaxsimLoop<Arch> loop(job, scratch);
    for (std::int64_t b = begin; b < end; ++b) loop.document(b);
}

ATTENTA_DEFINE_KERNEL(MaxsimFunction, maxsim_documents, &run_maxsim<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
