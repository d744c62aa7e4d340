#pragma once

#include <attenta/simd/kv_rows.hpp>
#include <attenta/simd/math.hpp>
#include <attenta/softmax/scores/scan_kernels.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

/// f(const T*) with T the type of a row's elements.
template <class F>
auto with_row(const void* row, Dtype type, F&& f) {
    if (type == Dtype::bf16) return f(static_cast<const bfloat16*>(row));
    if (type == Dtype::f16) return f(static_cast<const float16*>(row));
    return f(static_cast<const float*>(row));
}

template <class Arch>
float dot(const void* row, Dtype type, const float* q, std::int64_t dim, float scale) {
    using B = simd::Batch<Arch>;
    return with_row(row, type, [&](const auto* k) {
        constexpr std::int64_t L = simd::lanes<Arch>;
        B even(0.f), odd(0.f);
        std::int64_t c = 0;
        for (; c + 2 * L <= dim; c += 2 * L) {
            even = simd::fma<Arch>(simd::load<Arch>(k + c), simd::load<Arch>(q + c), even);
            odd = simd::fma<Arch>(simd::load<Arch>(k + c + L), simd::load<Arch>(q + c + L), odd);
        }
        for (; c + L <= dim; c += L) even = simd::fma<Arch>(simd::load<Arch>(k + c), simd::load<Arch>(q + c), even);
        if (c < dim)
            odd = simd::fma<Arch>(simd::load_part<Arch>(k + c, dim - c), simd::load_part<Arch>(q + c, dim - c), odd);
        return scale * simd::reduce_add<Arch>(even + odd);
    });
}

/// exp(from − top), 0 where from is −inf, whatever top is.
template <class Arch>
ATTENTA_ALWAYS_INLINE simd::Batch<Arch> weight_below(simd::Batch<Arch> from, simd::Batch<Arch> top) {
    using B = simd::Batch<Arch>;
    const B none(-std::numeric_limits<float>::infinity());
    return xsimd::select(from == none, B(0.f), simd::exp_nonpositive<Arch>(from - top));
}

template <class Arch>
void weigh(PrefixWeights& w, std::int64_t tokens) {
    constexpr std::int64_t L = simd::lanes<Arch>, block = 256;
    float tops[block + L], before[block + L];
    double u = double{w.u};
    for (std::int64_t t = 0; t < tokens; t += block) {
        const std::int64_t n = tokens - t < block ? tokens - t : block;
        float *const own = w.own + t, *const kept = w.kept + t;
        for (std::int64_t i = 0; i < n; ++i) {
            before[i] = w.m;
            w.m = own[i] > w.m ? own[i] : w.m;
            tops[i] = w.m;
        }
        std::int64_t i = 0;
        for (; i + L <= n; i += L) {
            const auto top = simd::load<Arch>(tops + i);
            weight_below<Arch>(simd::load<Arch>(before + i), top).store_unaligned(kept + i);
            weight_below<Arch>(simd::load<Arch>(own + i), top).store_unaligned(own + i);
        }
        if (i < n) {
            const auto top = simd::load_part<Arch>(tops + i, n - i);
            simd::store_part<Arch>(kept + i, weight_below<Arch>(simd::load_part<Arch>(before + i, n - i), top), n - i);
            simd::store_part<Arch>(own + i, weight_below<Arch>(simd::load_part<Arch>(own + i, n - i), top), n - i);
        }
        for (i = 0; i < n; ++i) {
            u = u * double{kept[i]} + double{own[i]};
            w.inverse[t + i] = u == 0 ? 0.f : static_cast<float>(1 / u);
            if (w.lse) w.lse[t + i] = tops[i] + static_cast<float>(std::log(u));
        }
    }
    w.u = static_cast<float>(u);
}

template <class Arch>
void add(const PrefixValues& x, std::int64_t tokens) {
    using B = simd::Batch<Arch>;
    with_row(nullptr, x.type, [&]<class T>(const T*) {
        simd::for_pieces<Arch, 4, 1, T>(
            x.count, [&]<int N>(std::integral_constant<int, N>, std::int64_t c, auto&& read) ATTENTA_FLATTEN {
                constexpr std::int64_t L = simd::lanes<Arch>;
                const std::int64_t left = x.count - c;
                const bool part = left < L;
                B sum[N];
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                    sum[n] = part ? simd::load_part<Arch>(x.w + c, left) : simd::load<Arch>(x.w + c + n * L);
                });
                const auto write = [&](float* to, B v) ATTENTA_FLATTEN {
                    if (part)
                        simd::store_part<Arch>(to, v, left);
                    else
                        v.store_unaligned(to);
                };
                for (std::int64_t t = 0; t < tokens; ++t) {
                    const T* const row = reinterpret_cast<const T*>(x.v[t] + x.offset) + x.begin + c;
                    float* const o = x.o + t * x.o_stride + c;
                    const B own(x.own[t]), kept(x.kept[t]), inverse(x.inverse[t]);
                    simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN {
                        sum[n] = simd::fma<Arch>(own, read(row + n * L), sum[n] * kept);
                        write(o + n * L, sum[n] * inverse);
                    });
                }
                simd::unrolled<N>([&](auto n) ATTENTA_FLATTEN { write(x.w + c + n * L, sum[n]); });
            });
    });
}

ATTENTA_DEFINE_KERNEL(DotOfRow, dot_of_row, &dot<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(WeighPrefixes, weigh_prefixes, &weigh<simd::NativeArch>)
ATTENTA_DEFINE_KERNEL(AddPrefixes, add_prefixes, &add<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
