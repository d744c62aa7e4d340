#pragma once

#include <attenta/engine/kernel.hpp>
#include <attenta/engine/scan/request.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class InjectiveFeature : std::uint8_t { identity, relu, leaky_relu, exp };
constexpr std::array<std::string_view, 4> names_of(InjectiveFeature) {
    return {"identity", "relu", "leaky_relu", "exp"};
}

namespace features {

/// Keys: [φ(x), 1]. Queries, with the sums z of the keys' features of each K/V head, the last of which is their number n:
/// [s φ(x)/n, (1 − s φ(x)·z/n)/n], so that products with Σ_j [φ(k_j), 1] v_j are weights that sum to 1.
struct Injective {
    InjectiveFeature feature = InjectiveFeature::identity;
    float temperature = 1, scale = 1;
    const float* sums = nullptr;  ///< [K/V heads, dim + 1]; null: rows are keys
    std::int64_t group = 1;       ///< query heads of a K/V head
};
ATTENTA_DECLARE_KERNEL(scan::FeatureFunction, injective_features)

}  // namespace features

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/features/injective_kernels.inl>
#endif
