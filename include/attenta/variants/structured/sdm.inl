#pragma once

#include <attenta/engine/common/arena.hpp>
#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/variants/structured/row_kernels.hpp>
#include <attenta/variants/structured/sdm.hpp>
#include <attenta/variants/structured/sdm_kernels.hpp>
#include <attenta/variants/structured/sdm_tables.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Tables of a call, for the next one with the same sizes.
struct SdmTables {
    std::int64_t n = 0, radius = 0;
    SdmMode mode = SdmMode::binary;
    SdmFit fit = SdmFit::binary;
    std::vector<double> logs;
    std::vector<float> log_weights;  ///< of balls
    sdm_tables::CapSpline spline;

    void fill(std::int64_t bits, const SdmOptions& o) {
        if (n == bits && radius == o.radius && mode == o.mode && fit == o.fit) return;
        n = 0;  // until the tables are whole
        if (o.mode == SdmMode::continuous) {
            spline = sdm_tables::cap_spline(bits, o.radius);
        } else if (o.mode == SdmMode::softmax && o.fit == SdmFit::continuous) {
            std::vector<double> angles;
            for (std::int64_t d = 0; d < o.radius; ++d)
                angles.push_back(std::asin(std::sqrt(static_cast<double>(d) / static_cast<double>(bits))));
            logs = sdm_tables::caps(bits, o.radius, angles);
        } else {
            logs = sdm_tables::balls(bits, o.radius);
            log_weights.assign(logs.begin(), logs.end());
        }
        n = bits, radius = o.radius, mode = o.mode, fit = o.fit;
    }
};

inline void check_sdm(const SdmInputs& x, const SdmOutputs& out, const SdmOptions& options) {
    CheckedCall check("sdm", InputList(x));
    check.groups(x.q, x.k.heads);
    constexpr std::int64_t most_bits = 1 << 22;  // whose numbers are exact in a float
    const std::int64_t n = x.q.dim;
    if (n > most_bits) check.refuse("q has " + checks::text(n) + " bits, needs at most " + checks::text(most_bits));
    check.at_least("radius", options.radius, options.mode == SdmMode::softmax ? 2 : 1);
    if (options.radius >= (n + 1) / 2)
        check.refuse("radius is " + checks::text(options.radius) + ", needs less than half of the " + checks::text(n) +
                     " bits");
    const bool caps =
        options.mode == SdmMode::continuous || (options.mode == SdmMode::softmax && options.fit == SdmFit::continuous);
    if (caps && n < 3) check.refuse("q has " + checks::text(n) + " features, continuous needs at least 3");
    if (options.ddof < 0 || options.ddof > 1) check.refuse("ddof is " + checks::text(options.ddof) + ", needs 0 or 1");
    if (options.on_miss == SdmMiss::query && x.v.dim != n)
        check.refuse("v has " + checks::text(x.v.dim) + " features, on_miss query needs the " + checks::text(n) +
                     " of q");
    check.numbers(options.check_data);
    check.scratch("the unit vectors of k", x.k.heads, x.k.tokens, n);
    check.output("o", out.o, x.q.heads, x.q.tokens, x.v.dim);
    const bool balls = options.mode == SdmMode::binary || options.mode == SdmMode::cosine_binned;
    check.output("table", balls ? out.table : nullptr, 1, 1, n + 1);
    check.output("beta", options.mode == SdmMode::softmax ? out.beta : nullptr, 1, 1, 1);
}

/// Ones of each row, [H, T] and room for a vector. Throws Error on other numbers than 0 and 1.
inline const float* ones_of(const char* name, Heads<const float> x, CallArrays& arrays, Context& context) {
    constexpr std::int64_t room = 16;
    float* const ones = arrays.take(x.heads * x.tokens + room);
    for_rows(context, x.heads, x.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t)
            ones[h * x.tokens + t] = structured::count_ones()(x.row(h, t), x.dim);
    });
    std::fill_n(ones + x.heads * x.tokens, room, 0.f);
    const std::int64_t bad = std::find(ones, ones + x.heads * x.tokens, -1.f) - ones;
    if (bad < x.heads * x.tokens)
        fail("sdm", std::string(name) + " has a number beside 0 and 1 in token " + std::to_string(bad % x.tokens) +
                        " of head " + std::to_string(bad / x.tokens) + ", binary needs bits");
    return ones;
}

/// Throws Error on vectors of zeros.
inline Heads<const float> unit_vectors(const char* name, Heads<const float> x, CallArrays& arrays, Context& context) {
    const Heads<float> unit = arrays.heads(x.heads, x.tokens, x.dim);
    float* const norms = arrays.take(x.heads * x.tokens);
    for_rows(context, x.heads, x.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
        for (std::int64_t t = begin; t < end; ++t)
            norms[h * x.tokens + t] = structured::unit_row()(x.row(h, t), x.dim, {}, unit.row(h, t));
    });
    const std::int64_t bad = std::find(norms, norms + x.heads * x.tokens, 0.f) - norms;
    if (bad < x.heads * x.tokens)
        fail("sdm", std::string(name) + " is a vector of zeros in token " + std::to_string(bad % x.tokens) +
                        " of head " + std::to_string(bad / x.tokens) + ", a cosine needs a direction");
    return unit;
}

/// Queries without weights become themselves.
inline void keep_missed_queries(Heads<const float> q, const float* lse, Heads<float> o) {
    for (std::int64_t h = 0; h < q.heads; ++h)
        for (std::int64_t t = 0; t < q.tokens; ++t)
            if (lse[h * q.tokens + t] == minus_infinity) std::copy_n(q.row(h, t), q.dim, o.row(h, t));
}

}  // namespace detail

ATTENTA_INLINE void sdm(const SdmInputs& x, const SdmOutputs& out, const SdmOptions& options, Context& context) {
    detail::check_sdm(x, out, options);
    detail::CallArrays arrays(context);
    auto& tables = context.kept<detail::SdmTables>();
    tables.fill(x.q.dim, options);
    const float n = static_cast<float>(x.q.dim);
    SoftmaxOptions softmax;
    softmax.scale = 1.f;
    Heads<const float> q = x.q, k = x.k;
    if (options.mode == SdmMode::binary) {
        const float *const ones_q = detail::ones_of("q", q, arrays, context), *const ones_k = detail::ones_of(
                                                                                  "k", k, arrays, context);
        softmax.edits = {structured::edit(structured::HammingWeights{tables.log_weights.data(), ones_q, ones_k, n,
                                                                     q.tokens, k.tokens, q.heads / k.heads})};
    } else {
        q = detail::unit_vectors("q", q, arrays, context);
        k = detail::unit_vectors("k", k, arrays, context);
    }
    if (options.mode == SdmMode::cosine_binned)
        softmax.edits = {structured::edit(structured::BinnedWeights{tables.log_weights.data(), n})};
    if (options.mode == SdmMode::continuous)
        softmax.edits = {structured::edit(structured::CapWeights{tables.spline.coefficients.data(),
                                                                 static_cast<float>(sdm_tables::CapSpline::pieces),
                                                                 tables.spline.reach, tables.spline.power})};
    if (options.mode == SdmMode::softmax) {
        softmax.scale = static_cast<float>(sdm_tables::fitted_beta(x.q.dim, options.radius, tables.logs, options.ddof));
        if (out.beta) *out.beta = *softmax.scale;
    } else if (options.mode != SdmMode::continuous && out.table) {
        std::transform(tables.logs.begin(), tables.logs.end(), out.table,
                       [](double log) { return static_cast<float>(std::exp(log)); });
    }
    float* const lse = options.on_miss == SdmMiss::query ? arrays.take(q.heads * q.tokens) : nullptr;
    softmax_attention(q, k, x.v, out.o, softmax, lse, context);
    if (lse) detail::keep_missed_queries(x.q, lse, out.o);
}

ATTENTA_END
