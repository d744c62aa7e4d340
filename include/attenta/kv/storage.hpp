// How a cache stores K and V.
#pragma once

#include <attenta/core/dtype.hpp>
#include <attenta/core/row_codes.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// K or V: floats of a type, or codes.
struct KvFormat {
    Dtype dtype = Dtype::f32;
    int bits = 8;                            ///< of a code: 8, 4 or 2
    bool signed_codes = true;                ///< codes of both signs; false: they count from the smallest number
    std::optional<std::int64_t> group = {};  ///< channels that share a scale; null: all of a row
    std::int64_t block = 0;     ///< tokens that share a scale for each channel; 0: each token has its own scales
    std::int64_t rotation = 1;  ///< channels that a Hadamard matrix mixes, a power of two; 1: none, 0: the largest
    bool half_scales = false;   ///< scales and offsets are rounded to f16

    KvFormat() = default;
    KvFormat(Dtype floats) : dtype(floats) {}
    /// Codes with a scale per token, head and group of channels.
    static KvFormat codes(int bits, bool signed_codes, std::optional<std::int64_t> group = {},
                          std::int64_t rotation = 1) {
        KvFormat f(Dtype::codes);
        f.bits = bits;
        f.signed_codes = signed_codes;
        f.group = group;
        f.rotation = rotation;
        return f;
    }
};

struct KvStorage {
    KvFormat k, v;
    std::int64_t sink = 0, recent = 0;  ///< first and newest tokens that stay floats beside codes

    KvStorage(Dtype floats = Dtype::f32) : k(floats), v(floats) {}
    KvStorage(const KvFormat& keys, const KvFormat& values, std::int64_t first = 0, std::int64_t newest = 0)
        : k(keys), v(values), sink(first), recent(newest) {}

    /// 8 bits per number and a scale per token and head.
    static KvStorage int8() { return {KvFormat::codes(8, true), KvFormat::codes(8, true)}; }
    /// Rotated before rounding (QuaRot), as llama.cpp does since 2026: 8 bits signed, 4 bits from the smallest number,
    /// scales per `group` channels.
    static KvStorage rotated(int k_bits, int v_bits, std::optional<std::int64_t> group = 32, std::int64_t sink = 0,
                             std::int64_t recent = 0) {
        return {KvFormat::codes(k_bits, k_bits == 8, group, 0), KvFormat::codes(v_bits, v_bits == 8, group, 0), sink,
                recent};
    }
    static KvStorage int4() { return rotated(4, 4); }
    static KvStorage k8v4() { return rotated(8, 4); }
    /// KIVI, Liu et al. 2024: keys with a scale per channel and `group` tokens, values with one per token and `group`
    /// channels; the newest `residual` tokens are floats.
    static KvStorage kivi(int bits = 2, std::int64_t group = 32, std::int64_t residual = 128) {
        KvStorage s{KvFormat::codes(bits, false), KvFormat::codes(bits, false, group), 0, residual};
        s.k.block = group;
        return s;
    }
};

ATTENTA_END
