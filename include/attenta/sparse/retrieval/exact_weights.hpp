// What mechanisms share that rank by exact attention weights.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/saturating.hpp>
#include <attenta/engine/attention/request.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Two passes: the statistics of all rows at once, then weights as often as they are wanted.
class ExactWeights {
public:
    /// `request` has neither values nor weight edits.
    ExactWeights(const attention::Request& request, Context& context)
        : request_(request),
          context_(&context),
          statistics_(static_cast<std::size_t>(request.q.heads * request.q.tokens)) {
        request_.two_passes = true;
        request_.values = false;
        attention::plan(request_, context).run(request_.q, request_.kv, {}, nullptr, {.found = statistics_.data()});
    }

    const RowStatistics& of(std::int64_t head, std::int64_t query) const {
        return statistics_[static_cast<std::size_t>(head * request_.q.tokens + query)];
    }

    /// The weights go through the edits, then, if `o` has data, meet the values.
    void run(const ScoreEdits& edits, Heads<float> o = {}) const {
        attention::Request r = request_;
        r.values = o.data != nullptr;
        r.weight_edits = edits;
        attention::plan(r, *context_).run(r.q, r.kv, o, nullptr, {.known = statistics_.data()});
    }

private:
    attention::Request request_;
    Context* context_;
    std::vector<RowStatistics> statistics_;
};

/// Keys from a position on.
struct KeysFrom {
    std::int64_t begin = 0;

    Spans spans(const QueryRow&) const { return {{begin, everywhere.end}, {}}; }
    Cover classify(const QueryRow&, const QueryRow&, const KeyBlock& keys) const {
        const Interval k = keys.range();
        return k.begin >= begin ? Cover::all : k.end <= begin ? Cover::none : Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow&) const { return {begin, everywhere.end}; }
};

/// The n largest scores above -inf, as ascending indices; ties go to the lower one.
inline std::vector<std::int64_t> top_indices(std::span<const double> scores, std::int64_t n) {
    std::vector<std::int64_t> order;
    for (std::size_t i = 0; i < scores.size(); ++i)
        if (scores[i] > -std::numeric_limits<double>::infinity()) order.push_back(static_cast<std::int64_t>(i));
    const std::int64_t count = std::clamp<std::int64_t>(n, 0, std::ssize(order));
    const auto before = [&](std::int64_t a, std::int64_t b) {
        const double x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
        return x > y || (x == y && a < b);
    };
    std::nth_element(order.begin(), order.begin() + count, order.end(), before);
    order.resize(static_cast<std::size_t>(count));
    std::sort(order.begin(), order.end());
    return order;
}

}  // namespace detail

ATTENTA_END
