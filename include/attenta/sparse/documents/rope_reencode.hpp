// Keys that were rotated for one position are turned to another, so that passages that are cached may stand anywhere. Ma et al.
// 2024, "Block-Attention for Efficient RAG", section 2; rotary positions: Su et al. 2021.
//
//   pair t of the first R = rotary_dim dimensions is rotated by (new − old) · base^(−2t/R), t < R/2:
//   (a, b) → (a cos − b sin, b cos + a sin);  pairs are (t, t + R/2), or (2t, 2t + 1)
//
// Angles are formed in double: in float those of far positions have no digits left. Time T·R per head; sines once for tokens that
// move equally far.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

struct RopeReencodeInputs {
    Heads<const float> k;
    std::span<const std::int64_t> old_position, new_position;

    static void list(auto&& visit, auto& x) {
        visit("k", x.k, "[H, T, D]");
        visit("old_position", x.old_position, "[T]");
        visit("new_position", x.new_position, "[T]");
    }
};

struct RopeReencodeOptions {
    float base = 10000;
    std::optional<std::int64_t> rotary_dim = {};  ///< the first dimensions, which are rotated, even; default all
    bool interleaved = false;                     ///< pairs are neighbours
    bool check_data = false;                      ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("base", o.base, "of the frequencies");
        visit("rotary_dim", o.rotary_dim, "dimensions that are rotated, default all");
        visit("interleaved", o.interleaved, "pairs are neighbours, not halves");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// k_new [H, T, D], which may be k itself. Throws Error on shapes and options that do not fit; nothing is written then.
void rope_reencode(const RopeReencodeInputs& x, const Heads<float>& k_new, const RopeReencodeOptions& options = {},
                   Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/engine/isa.inl>
#include <attenta/sparse/documents/rope_reencode.inl>
#endif
