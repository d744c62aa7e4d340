#pragma once

#include <attenta/simd/score_rows.hpp>
#include <attenta/variants/normalisers/normalized_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

ATTENTA_BEGIN

namespace detail {

template <class Arch>
void standardise(float* s, std::int64_t n, float eps, bool of_variance, float gain, float bias) {
    using B = simd::Batch<Arch>;
    const B hidden(-std::numeric_limits<float>::infinity()), zero(0.f), one(1.f);
    const auto if_seen = [&](B x, B then) ATTENTA_FLATTEN { return xsimd::select(x == hidden, zero, then); };
    B count(0.f), sum(0.f);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B x = simd::load<Arch>(s + i);
        count = count + if_seen(x, one);
        sum = sum + if_seen(x, x);
    }
    const float keys = simd::reduce_add<Arch>(count);
    // Of rows without keys only zeros are left to write.
    const float share = keys > 0 ? 1 / keys : 0.f;
    const B mean(simd::reduce_add<Arch>(sum) * share);
    // What a sum of rounded numbers has left of the mean is taken off, too.
    B rest(0.f), squares(0.f);
    for (std::int64_t i = 0; i < n; i += simd::lanes<Arch>) {
        const B x = simd::load<Arch>(s + i), c = if_seen(x, x - mean);
        rest = rest + c;
        squares = simd::fma<Arch>(c, c, squares);
    }
    const float shift = simd::reduce_add<Arch>(rest) * share,
                variance = std::max(simd::reduce_add<Arch>(squares) * share - shift * shift, 0.f);
    const float den = of_variance ? std::sqrt(variance + eps) : std::sqrt(variance) + eps;
    const B factor(gain / den), more(shift), plus(bias);
    simd::map_row<Arch>(
        s, s, n, [&](B x) ATTENTA_FLATTEN { return if_seen(x, simd::fma<Arch>((x - mean) - more, factor, plus)); });
}

ATTENTA_DEFINE_KERNEL(StandardiseRow, standardise_row, &standardise<simd::NativeArch>)

}  // namespace detail

ATTENTA_END
