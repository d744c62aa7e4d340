#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/finite.hpp>
#include <attenta/kv/row_codec.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void store_row(const float* x, std::int64_t n, Dtype type, std::byte* to) {
    switch (type) {
        case Dtype::f32:
            std::copy_n(x, n, reinterpret_cast<float*>(to));
            break;
        case Dtype::bf16:
            std::transform(x, x + n, reinterpret_cast<bfloat16*>(to), [](float v) { return bfloat16(v); });
            break;
        case Dtype::f16:
            std::transform(x, x + n, reinterpret_cast<float16*>(to), [](float v) { return float16(v); });
            break;
        case Dtype::codes:
            break;
    }
}

/// Whole rows are judged at once: few have one.
ATTENTA_INLINE const float* find_beyond(const float* x, std::int64_t n, float limit) {
    const std::uint32_t most = magnitude_bits(limit), infinite = 0x7f800000u;
    const auto beyond = [=](float v) { return magnitude_bits(v) - most - 1u < infinite - most - 1u; };
    std::uint32_t any = 0;
    for (std::int64_t i = 0; i < n; ++i) any |= beyond(x[i]) ? 1u : 0u;
    return any ? std::find_if(x, x + n, beyond) : nullptr;
}

inline constexpr float most_coded = 1e36f;  ///< differences and rotations of such numbers are finite

ATTENTA_INLINE void check_format(const char* f, const char* side, const KvFormat& x, std::int64_t dim) {
    const auto refuse = [&](const char* what, std::int64_t got, const std::string& needs) {
        fail(f, std::string("storage of ") + side + " has " + what + " " + std::to_string(got) + ", needs " + needs);
    };
    if (!is_dtype(x.dtype) && x.dtype != Dtype::codes) fail(f, "storage is no Dtype, needs f32, bf16, f16 or codes");
    const std::int64_t turned = x.rotation == 0 ? power_of_two_in(dim) : x.rotation;
    if (turned < 1 || power_of_two_in(turned) != turned || dim % turned != 0)
        refuse("a rotation of", x.rotation, "a power of two that divides " + std::to_string(dim));
    if (x.dtype != Dtype::codes) return;
    if (x.bits != 8 && x.bits != 4 && x.bits != 2) refuse("bits", x.bits, "8, 4 or 2");
    if (x.group && (*x.group < 1 || dim % *x.group != 0))
        refuse("groups of", *x.group, "channels that divide " + std::to_string(dim));
    if (x.block < 0) refuse("blocks of", x.block, "at least 0 tokens");
}

ATTENTA_INLINE RowCodes codes_of(const KvFormat& x, std::int64_t dim) {
    return {x.bits, x.block > 0 ? 0 : x.group.value_or(dim), x.signed_codes};
}

ATTENTA_INLINE std::int64_t row_bytes(const KvFormat& x, std::int64_t dim) {
    return x.dtype == Dtype::codes ? codes_of(x, dim).row_bytes(dim) : dim * size_of(x.dtype);
}

ATTENTA_INLINE void check_stored(const char* f, const char* name, const KvFormat& format, Heads<const float> x,
                                 int layer) {
    if (x.tokens > 0 && !x.data) fail(f, std::string(name) + " is null, has elements to hold");
    const CheckedInt end = CheckedInt(x.heads - 1) * x.head_stride + CheckedInt(x.tokens) * x.token_stride + x.dim;
    if (x.head_stride < 0 || x.token_stride < 0 || !(end * sizeof(float)).valid())
        fail(f, std::string(name) + " has strides " + std::to_string(x.head_stride) + " and " +
                    std::to_string(x.token_stride) + ", needs at least 0 and rows that memory can hold");
    const bool codes = format.dtype == Dtype::codes;
    const std::int64_t block = format.rotation == 0 ? power_of_two_in(x.dim) : format.rotation;
    if (format.dtype == Dtype::f32 && block < 2) return;
    float most = !codes ? largest(format.dtype) : format.half_scales ? largest(Dtype::f16) : most_coded;
    if (block > 1) most /= std::sqrt(static_cast<float>(block));
    const auto beyond = [&](const float* row) -> const float* {
        if (!codes) return find_beyond(row, x.dim, most);
        const float* const at =
            std::find_if(row, row + x.dim, [&](float n) { return magnitude_bits(n) > magnitude_bits(most); });
        return at == row + x.dim ? nullptr : at;
    };
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t t = 0; t < x.tokens; ++t)
            if (const float* at = beyond(x.row(h, t)))
                fail(f, std::string(name) + (layer < 0 ? "" : " of layer " + std::to_string(layer) + ",") +
                            " of head " + std::to_string(h) + ", token " + std::to_string(t) + " is " +
                            std::to_string(*at) + ", " + attenta::name(format.dtype) + " ends at " +
                            std::to_string(most));
}

ATTENTA_INLINE void store(const KvFormat& format, const RowCodes& codes, const float* x, std::int64_t dim,
                          std::byte* to) {
    if (format.dtype == Dtype::codes)
        store_codes(x, dim, codes, format.half_scales, to);
    else
        store_row(x, dim, format.dtype, to);
}

/// What turns numbers between `low` and `high` into codes and back.
struct CodeScale {
    float scale = 0, offset = 0;
    int middle = 0;  ///< code of 0 of signed codes
    int least = 0, most = 0;

    CodeScale(float low, float high, const RowCodes& codes, bool half_scales) {
        const auto stored = [half_scales](float v) { return half_scales ? static_cast<float>(float16(v)) : v; };
        if (codes.signed_codes) {
            middle = 1 << (codes.bits - 1);
            least = 1;
            most = codes.most();
            scale = stored(std::max(std::abs(low), std::abs(high)) / static_cast<float>(middle - 1));
            offset = -static_cast<float>(middle) * scale;
        } else {
            most = codes.most();
            scale = stored((high - low) / static_cast<float>(most));
            offset = stored(low);
        }
    }
    unsigned code(float x) const {
        if (!(scale > 0)) return static_cast<unsigned>(middle);
        // Rounds to nearest even: codes have far fewer bits than what is added.
        constexpr float shift = 12582912.f;
        const float y = (middle != 0 ? x : x - offset) / scale;
        const float rounded = (std::clamp(y, -256.f, 256.f) + shift) - shift;
        return static_cast<unsigned>(std::clamp(static_cast<int>(rounded) + middle, least, most));
    }
};

/// Of n numbers that lie `stride` apart. NaN are passed over.
struct Range {
    float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
    void take(float x) {
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    bool empty() const { return high < low; }
    CodeScale scale(const RowCodes& codes, bool half_scales) const {
        return {empty() ? 0.f : low, empty() ? 0.f : high, codes, half_scales};
    }
};

inline void put_code(std::byte* row, std::int64_t c, const RowCodes& codes, unsigned code) {
    const std::int64_t piece = c / RowCodes::piece, of_byte = codes.pieces_per_byte();
    std::byte& at = row[piece / of_byte * RowCodes::piece + c % RowCodes::piece];
    at |= static_cast<std::byte>(code << (static_cast<unsigned>(codes.bits) * static_cast<unsigned>(piece % of_byte)));
}

ATTENTA_INLINE void store_codes(const float* x, std::int64_t dim, const RowCodes& codes, bool half_scales,
                                std::byte* to) {
    const std::int64_t groups = codes.groups(dim);
    std::fill_n(to, codes.code_bytes(dim), std::byte{0});
    std::byte* const scales = to + codes.code_bytes(dim);
    for (std::int64_t g = 0; g < groups; ++g) {
        const float* const from = x + g * codes.group;
        Range range;
        for (std::int64_t c = 0; c < codes.group; ++c) range.take(from[c]);
        const CodeScale s = range.scale(codes, half_scales);
        for (std::int64_t c = 0; c < codes.group; ++c) put_code(to, g * codes.group + c, codes, s.code(from[c]));
        std::memcpy(scales + 4 * g, &s.scale, sizeof s.scale);
        if (!codes.signed_codes) std::memcpy(scales + 4 * (groups + g), &s.offset, sizeof s.offset);
    }
}

ATTENTA_INLINE void store_block(const float* x, std::int64_t tokens, std::int64_t dim, const RowCodes& codes,
                                bool half_scales, std::byte* block, std::byte* rows) {
    const std::int64_t padded = codes.block_bytes(dim) / 8, row_bytes = codes.row_bytes(dim);
    std::fill_n(block, codes.block_bytes(dim), std::byte{0});
    std::fill_n(rows, tokens * row_bytes, std::byte{0});
    for (std::int64_t c = 0; c < dim; ++c) {
        Range range;
        for (std::int64_t t = 0; t < tokens; ++t) range.take(x[t * dim + c]);
        const CodeScale s = range.scale(codes, half_scales);
        for (std::int64_t t = 0; t < tokens; ++t) put_code(rows + t * row_bytes, c, codes, s.code(x[t * dim + c]));
        std::memcpy(block + 4 * c, &s.scale, sizeof s.scale);
        std::memcpy(block + 4 * (padded + c), &s.offset, sizeof s.offset);
    }
    for (std::int64_t t = 0; t < tokens; ++t) {
        const auto distance = static_cast<std::int32_t>(rows + t * row_bytes - block);
        std::memcpy(rows + t * row_bytes + codes.code_bytes(dim), &distance, sizeof distance);
    }
}

ATTENTA_INLINE void rotate_row(float* x, std::int64_t dim, std::int64_t block) {
    if (block < 2) return;
    const float norm = 1.f / std::sqrt(static_cast<float>(block));
    for (std::int64_t first = 0; first < dim; first += block) {
        float* const y = x + first;
        for (std::int64_t half = 1; half < block; half *= 2)
            for (std::int64_t i = 0; i < block; i += 2 * half)
                for (std::int64_t c = i; c < i + half; ++c) {
                    const float a = y[c], b = y[c + half];
                    y[c] = a + b;
                    y[c + half] = a - b;
                }
        for (std::int64_t c = 0; c < block; ++c) y[c] *= norm;
    }
}

}  // namespace detail

ATTENTA_END
