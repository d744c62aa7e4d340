// Sparse distributed memory: a value counts as much as the addresses within the radius of both the query and its key. Kanerva 1988;
// Bricken and Pehlevan 2021, "Attention Approximates Sparse Distributed Memory".
//
//   o_i = Σ_j w(d_ij) v_j / Σ_j w(d_ij)
//   binary:         q, k in {0, 1}, d the Hamming distance, w what two balls of n = D bits share (sdm_tables.hpp)
//   cosine_binned:  the same with d = ⌊n (1 − cos)/2⌋
//   continuous:     w what two caps of half-angle arccos(1 − 2r/n) on the sphere share, from a table of its logarithm
//   softmax:        softmax(β cos), β the least-squares slope of ln w, of balls or of caps
//
// A query whose weights all vanish gives 0 or stays itself. Time T²·(D + Dv) and a table of D + 1 or 2048 numbers, kept by the
// context.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <array>
#include <cstdint>
#include <string_view>

ATTENTA_BEGIN

enum class SdmMode : std::uint8_t { binary, cosine_binned, continuous, softmax };
constexpr std::array<std::string_view, 4> names_of(SdmMode) {
    return {"binary", "cosine_binned", "continuous", "softmax"};
}
enum class SdmFit : std::uint8_t { binary, continuous };
constexpr std::array<std::string_view, 2> names_of(SdmFit) { return {"binary", "continuous"}; }
enum class SdmMiss : std::uint8_t { zero, query };
constexpr std::array<std::string_view, 2> names_of(SdmMiss) { return {"zero", "query"}; }

struct SdmInputs {
    Heads<const float> q, k, v;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", x.k, "[Hkv, Tk, D]");
        visit("v", x.v, "[Hkv, Tk, Dv]");
    }
};

struct SdmOutputs {
    Heads<float> o;          ///< [Hq, Tq, Dv]
    float* table = nullptr;  ///< [D + 1] weight of each distance, that of 0 is 1; of binary and cosine_binned; or null
    float* beta = nullptr;   ///< [1] of softmax; or null
};

struct SdmOptions {
    SdmMode mode = SdmMode::binary;
    std::int64_t radius = 0;          ///< bits, at least 1 and below D/2; 2 for softmax
    SdmFit fit = SdmFit::binary;      ///< softmax: to the table of balls or to the caps
    std::int64_t ddof = 0;            ///< softmax: 1 as the released script, a factor r/(r − 1)
    SdmMiss on_miss = SdmMiss::zero;  ///< query: needs Dv = D
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("mode", o.mode, "binary, cosine_binned, continuous or softmax");
        visit("radius", o.radius, "of the balls, in bits");
        visit("fit", o.fit, "softmax: beta from binary balls or continuous caps");
        visit("ddof", o.ddof, "softmax: taken off the count of the covariance");
        visit("on_miss", o.on_miss, "a query without weights gives zero, or the query");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Cosines are of single precision: where a query is a key but for 1e-3, its weight in `continuous` has four digits.
/// Throws Error on shapes and options that do not fit, on numbers beside 0 and 1 in binary mode, on vectors of zeros in the others;
/// nothing is written then.
void sdm(const SdmInputs& x, const SdmOutputs& out, const SdmOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/checked_call.inl>
#include <attenta/variants/structured/row_kernels.inl>
#include <attenta/variants/structured/sdm.inl>
#include <attenta/variants/structured/sdm_kernels.inl>
#include <attenta/variants/structured/sdm_tables.inl>
#endif
