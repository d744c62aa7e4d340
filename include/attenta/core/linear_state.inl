#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/linear_state.hpp>

#include <array>
#include <cstring>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Sizes of a saved state: heads, dim, dim_v, elements of normalizer, weight, key_max.
using StateHeader = std::array<std::int64_t, 6>;

inline StateHeader header_of(const LinearState& s) {
    return {s.heads,
            s.dim,
            s.dim_v,
            static_cast<std::int64_t>(s.normalizer.size()),
            static_cast<std::int64_t>(s.weight.size()),
            static_cast<std::int64_t>(s.key_max.size())};
}

inline CheckedInt elements_of_state(std::int64_t heads, std::int64_t dim, std::int64_t dim_v) {
    return CheckedInt(heads) * dim * dim_v;
}

}  // namespace detail

ATTENTA_INLINE LinearState::LinearState(std::int64_t state_heads, std::int64_t keys, std::int64_t values)
    : heads(state_heads), dim(keys), dim_v(values) {
    const CheckedInt elements = detail::elements_of_state(heads, dim, dim_v);
    if (heads < 0 || dim < 0 || dim_v < 0 || !(elements * sizeof(float)).valid())
        fail("LinearState", "sizes are [" + std::to_string(heads) + ", " + std::to_string(dim) + ", " +
                                std::to_string(dim_v) + "], needs at least 0 and a product that memory can hold");
    matrix.resize(static_cast<std::size_t>(elements.value()));
}

ATTENTA_INLINE std::size_t LinearState::saved_bytes() const {
    return sizeof(detail::StateHeader) +
           (matrix.size() + normalizer.size() + weight.size() + key_max.size()) * sizeof(float);
}

ATTENTA_INLINE void LinearState::save(std::span<std::byte> to) const {
    if (to.size() != saved_bytes())
        fail("LinearState::save",
             "to has " + std::to_string(to.size()) + " bytes, needs " + std::to_string(saved_bytes()));
    const detail::StateHeader header = detail::header_of(*this);
    std::byte* p = to.data();
    std::memcpy(p, header.data(), sizeof header);
    p += sizeof header;
    for (const auto* array : {&matrix, &normalizer, &weight, &key_max}) {
        if (!array->empty()) std::memcpy(p, array->data(), array->size() * sizeof(float));
        p += array->size() * sizeof(float);
    }
}

ATTENTA_INLINE LinearState LinearState::load(std::span<const std::byte> from) {
    detail::StateHeader header{};
    const auto refuse = [&](const std::string& why) { fail("LinearState::load", "from " + why); };
    if (from.size() < sizeof header)
        refuse("has " + std::to_string(from.size()) + " bytes, needs at least " + std::to_string(sizeof header));
    std::memcpy(header.data(), from.data(), sizeof header);
    for (const std::int64_t n : header)
        if (n < 0) refuse("holds a size of " + std::to_string(n) + ", needs a saved state");
    const auto [heads, dim, dim_v, normalizers, weights, maxima] = header;
    const CheckedInt bytes =
        (detail::elements_of_state(heads, dim, dim_v) + normalizers + weights + maxima) * sizeof(float);
    if (!bytes.valid() || from.size() - sizeof header != static_cast<std::size_t>(bytes.value()))
        refuse("has " + std::to_string(from.size()) + " bytes, needs those of its sizes");
    LinearState s(heads, dim, dim_v);
    s.normalizer.resize(static_cast<std::size_t>(normalizers));
    s.weight.resize(static_cast<std::size_t>(weights));
    s.key_max.resize(static_cast<std::size_t>(maxima));
    const std::byte* p = from.data() + sizeof header;
    for (auto* array : {&s.matrix, &s.normalizer, &s.weight, &s.key_max}) {
        if (!array->empty()) std::memcpy(array->data(), p, array->size() * sizeof(float));
        p += array->size() * sizeof(float);
    }
    return s;
}

ATTENTA_END
