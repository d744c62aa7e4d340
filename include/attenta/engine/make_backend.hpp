// Instantiates everything for one instruction set.
#pragma once

#include <attenta/core/flush_to_zero.hpp>
#include <attenta/engine/backend.hpp>
#include <attenta/engine/common/merge.hpp>
#include <attenta/engine/few/loop.hpp>
#include <attenta/engine/scan/feature_kernels.hpp>
#include <attenta/engine/scan/loop.hpp>
#include <attenta/engine/score/edit_kernels.hpp>
#include <attenta/engine/tile/loop.hpp>
#include <attenta/simd/math.hpp>

ATTENTA_BEGIN

namespace detail {

template <class Arch, simd::Batch<Arch> (*f)(simd::Batch<Arch>)>
void map(const float* x, float* y, std::int64_t n) {
    simd::map_row<Arch>(x, y, n, f);
}

template <class Arch>
void run_tiles(const attention::Job& job, const attention::Task& task, std::byte* scratch) {
    if (job.known)
        attention::TileLoop<Arch, KnownStatistics<Arch>>(job, task, scratch).run();
    else
        attention::TileLoop<Arch, OnlineSoftmax<Arch>>(job, task, scratch).run();
}

template <class Arch>
void run_rows(const attention::Job& job, const attention::Task& task, std::byte* scratch) {
    switch (attention::padded_rows(task.row_end - task.row_begin)) {
        case 1:
            return attention::FewLoop<Arch, 1>(job, task, scratch).run();
        case 2:
            return attention::FewLoop<Arch, 2>(job, task, scratch).run();
        case 4:
            return attention::FewLoop<Arch, 4>(job, task, scratch).run();
        case 8:
            return attention::FewLoop<Arch, 8>(job, task, scratch).run();
        case 16:
            return attention::FewLoop<Arch, 16>(job, task, scratch).run();
        case 32:
            return attention::FewLoop<Arch, 32>(job, task, scratch).run();
        default:
            return attention::FewLoop<Arch, attention::few_rows>(job, task, scratch).run();
    }
}

template <class Arch>
void run_scan(const scan::Job& job, const scan::Task& task, std::byte* scratch) {
    const FlushToZero flush;
    scan::ScanLoop<Arch>(job, task, scratch).run();
}

template <class Arch>
void skip_and_gate(float* o, const float* x, const float* skip, std::int64_t skip_stride, const float* z,
                   std::int64_t n) {
    using B = simd::Batch<Arch>;
    constexpr std::int64_t L = simd::lanes<Arch>;
    const FlushToZero flush;
    for (std::int64_t i = 0; i < n; i += L) {
        const std::int64_t here = std::min(L, n - i);
        const auto load = [&](const float* p) {
            return here == L ? simd::load<Arch>(p + i) : simd::load_part<Arch>(p + i, here);
        };
        B y = load(o);
        if (skip) y = simd::fma<Arch>(skip_stride ? load(skip) : B(*skip), load(x), y);
        if (z) {
            const B g = load(z), e = simd::exp_nonpositive<Arch>(-xsimd::abs(g));  // of large -g it would overflow
            y = simd::divide<Arch>(y * g * xsimd::select(g < B(0.f), e, B(1.f)), B(1.f) + e);
        }
        simd::store_part<Arch>(o + i, y, here);
    }
}

}  // namespace detail

template <class Arch>
constexpr Backend make_backend(Isa isa) {
    Backend b{};
    b.isa = isa;
    b.tile_task = &detail::run_tiles<Arch>;
    b.rows_task = &detail::run_rows<Arch>;
    b.merge_row = &merge_row<Arch>;
    b.scan_task = &detail::run_scan<Arch>;
    b.elu1 = &features::elu1<Arch>;
    b.relu = &features::relu<Arch>;
    b.squared_relu = &features::squared_relu<Arch>;
    b.exp_features = &features::exp<Arch>;
    b.softmax_features = &features::softmax<Arch>;
    b.cos_features = &features::cos<Arch>;
    b.l2_norm = &features::l2_norm<Arch>;
    b.rotate = &features::rotate<Arch>;
    b.one_minus_exp = &features::one_minus_exp<Arch>;
    b.random_features = &features::random<Arch>;
    b.soft_cap = &edits::run<Arch, edits::SoftCap>;
    b.alibi = &edits::run<Arch, edits::Alibi>;
    b.bias = &edits::run<Arch, edits::Bias>;
    b.column_sums = &edits::run<Arch, edits::ColumnSums>;
    b.last_rows = &edits::run<Arch, edits::LastRows>;
    b.exp = &detail::map<Arch, &simd::exp<Arch>>;
    b.tanh = &detail::map<Arch, &simd::tanh<Arch>>;
    b.skip_and_gate = &detail::skip_and_gate<Arch>;
    return b;
}

ATTENTA_END
