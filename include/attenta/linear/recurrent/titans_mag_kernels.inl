#pragma once

#include <attenta/linear/recurrent/titans_mag_kernels.hpp>
#include <attenta/simd/for_vectors.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

#include <cmath>
#include <cstdint>

ATTENTA_BEGIN

namespace detail::kernels {

template <class Arch>
float inverse_rms(const float* x, std::int64_t dim, float eps) {
    using B = simd::Batch<Arch>;
    const float squares = simd::sum_row<Arch>(x, dim, [](B v) ATTENTA_FLATTEN { return v * v; });
    return 1.f / std::sqrt(squares / static_cast<float>(dim) + eps);
}

template <class Arch>
void gate_by_memory(const GatedBranches& r, float* o, std::int64_t dim) {
    using B = simd::Batch<Arch>;
    const float of_y = r.norm_y ? inverse_rms<Arch>(r.y, dim, r.eps) : 1.f,
                of_memory = r.norm_memory ? inverse_rms<Arch>(r.memory, dim, r.eps) : 1.f;
    simd::for_vectors<Arch>(dim, [&, fy = B(of_y), fm = B(of_memory)](auto load, auto store) ATTENTA_FLATTEN {
        B y = load(r.y) * fy, gate = load(r.memory) * fm;
        if (r.norm_y) y = y * load(r.norm_y);
        if (r.norm_memory) gate = gate * load(r.norm_memory);
        store(o, y * simd::sigmoid<Arch>(gate));
    });
}

}  // namespace detail::kernels

namespace detail {

ATTENTA_DEFINE_KERNEL(GateByMemory, gate_by_memory, &kernels::gate_by_memory<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
