#pragma once

#include <attenta/analysis/calibrate_position.hpp>
#include <attenta/analysis/common/documents.hpp>
#include <attenta/analysis/common/weight_passes.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_calibrate_position(Check& check, const CalibratePositionInputs& x,
                                     const CalibratePositionOutputs& out, const CalibratePositionOptions& options,
                                     std::vector<KeyRange>& documents) {
    if (x.doc_start.empty()) check.refuse("doc_start is empty, needs a document");
    const std::int64_t seen_by_all = options.causal ? x.kv.length(0) - x.q.tokens + 1 : x.kv.length(0);
    document_ranges(check, x.doc_start, x.doc_end, seen_by_all, documents);
    check.finite("temperature", options.temperature);
    if (options.temperature <= 0)
        check.refuse("temperature is " + std::to_string(options.temperature) + ", needs a number above 0");
    if (options.heads) check.indices("heads", *options.heads, x.q.heads);
    check.scratch("the relevance", x.q.heads, x.q.tokens, std::ssize(x.doc_start));
    check.outputs(out, x, options);
}

/// Relevance [Hq, Tq, K] from the mass [Hq, Tq, K + 1] of the documents.
inline std::vector<double> relevance_of_documents(const CalibratePositionInputs& x, RelevanceOf of, const float* mass) {
    const std::int64_t heads = x.q.heads, queries = x.q.tokens, documents = std::ssize(x.doc_start);
    std::vector<double> relevance(static_cast<std::size_t>(heads * queries * documents));
    const std::int64_t of_head = queries * documents;
    for (std::int64_t n = 0; n < heads * of_head; ++n) {
        const std::int64_t d = n % documents, h = n / of_head;
        const auto size =
            static_cast<double>(x.doc_end[static_cast<std::size_t>(d)] - x.doc_start[static_cast<std::size_t>(d)]);
        relevance[static_cast<std::size_t>(n)] =
            double{mass[n + n / documents]} / size - double{x.dummy.data[h * x.dummy.row_stride + d]};
    }
    if (of == RelevanceOf::head) return relevance;
    for (std::int64_t n = 0; n < of_head; ++n) {
        double sum = 0;
        for (std::int64_t h = 0; h < heads; ++h) sum += relevance[static_cast<std::size_t>(h * of_head + n)];
        for (std::int64_t h = 0; h < heads; ++h)
            relevance[static_cast<std::size_t>(h * of_head + n)] = sum / static_cast<double>(heads);
    }
    return relevance;
}

/// Factors of the documents' weights in one row; `mass` is their weight.
inline void document_gains(const CalibratePositionInputs& x, const double* relevance, double temperature,
                           const float* mass, float* gain) {
    const std::int64_t documents = std::ssize(x.doc_start);
    const double top = *std::max_element(relevance, relevance + documents);
    const auto share = [&](std::int64_t d) { return std::exp((relevance[d] - top) / temperature); };
    const auto size = [&](std::int64_t d) {
        return static_cast<double>(x.doc_end[static_cast<std::size_t>(d)] - x.doc_start[static_cast<std::size_t>(d)]);
    };
    double before = 0, after = 0;
    for (std::int64_t d = 0; d < documents; ++d) {
        before += double{mass[d]};
        after += size(d) * share(d);
    }
    constexpr auto least = static_cast<double>(std::numeric_limits<float>::min()),
                   most = static_cast<double>(std::numeric_limits<float>::max());
    for (std::int64_t d = 0; d < documents; ++d) {
        const double own = double{mass[d]};
        gain[d] = own < least ? 0.f : static_cast<float>(std::min(before / after * share(d) * size(d) / own, most));
    }
}

}  // namespace detail

ATTENTA_INLINE void calibrate_position(const CalibratePositionInputs& x, const CalibratePositionOutputs& out,
                                       const CalibratePositionOptions& options, Context& context) {
    const char* const f = "calibrate_position";
    WeightPasses passes(f, x, out.o, out.lse, options.causal, options.scale, context);
    Check check(f, InputList(x), x.kv);
    CalibrationMemory& memory = passes.memory();
    detail::check_calibrate_position(check, x, out, options, memory.ranges);

    const std::int64_t documents = std::ssize(x.doc_start), queries = passes.queries();
    const KeyGroups groups{memory.ranges.data(), nullptr, documents, documents};
    passes.find_statistics();
    const float* const mass = passes.group_mass(groups);
    const std::vector<double> relevance = detail::relevance_of_documents(x, options.aggregate, mass);
    memory.gain.assign(static_cast<std::size_t>(passes.rows() * (documents + 1)), 1.f);
    for (std::int64_t r = 0; r < passes.rows(); ++r) {
        if (options.rows == CalibratedRows::last && r % queries != queries - 1) continue;
        if (options.heads &&
            std::find(options.heads->begin(), options.heads->end(), r / queries) == options.heads->end())
            continue;
        detail::document_gains(x, relevance.data() + r * documents, options.temperature, mass + r * (documents + 1),
                               memory.gain.data() + r * (documents + 1));
    }
    passes.weigh_groups(groups, memory.gain.data(), out.o, out.weights);
    passes.give_lse(out.lse);
    if (out.relevance)
        std::transform(relevance.begin(), relevance.end(), out.relevance,
                       [](double e) { return static_cast<float>(e); });
}

}  // namespace analysis

ATTENTA_END
