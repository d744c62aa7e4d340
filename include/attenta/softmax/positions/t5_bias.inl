#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/engine/score/distance_table.hpp>
#include <attenta/softmax/positions/t5_bias.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE std::int64_t t5_bucket(std::int64_t distance, std::int64_t buckets, std::int64_t max_distance,
                                      bool bidirectional) {
    std::int64_t base = 0;
    if (bidirectional) {
        buckets /= 2;
        if (distance > 0) base = buckets;
        distance = -std::abs(distance);
    }
    const std::int64_t n = std::max<std::int64_t>(-distance, 0), exact = buckets / 2;
    if (n < exact) return base + n;
    const auto ratio = [exact](std::int64_t x) {
        return std::log(static_cast<double>(x) / static_cast<double>(exact));
    };
    const double steps = ratio(n) / ratio(max_distance) * static_cast<double>(buckets - exact) + 1e-9;
    return base + std::min(buckets - 1, exact + static_cast<std::int64_t>(steps));
}

namespace detail {

inline void check_t5_buckets(const char* f, std::int64_t buckets, const T5BiasOptions& o) {
    if (!o.bidirectional) fail(f, "bidirectional is not given, needs true or false");
    const bool both = *o.bidirectional;
    if (buckets < (both ? 4 : 2) || (both && buckets % 2 != 0))
        fail(f, "rel_bias has " + checks::text(buckets) + " buckets, needs " +
                    (both ? "an even number from 4 up" : "at least 2"));
    checks::require_at_least(f, "max_distance", o.max_distance, (both ? buckets / 2 : buckets) / 2 + 1);
}

struct T5Memory {
    DistanceTable table;
    std::vector<std::int64_t> buckets;
};

}  // namespace detail

ATTENTA_INLINE void t5_bias(const T5BiasInputs& x, const T5BiasOutputs& out, const T5BiasOptions& options,
                            Context& context) {
    const char* const f = "t5_bias";
    detail::SoftmaxCall call =
        detail::check_softmax(f, x, out, options.scale.value_or(1.f), options.visibility, context);
    const std::int64_t buckets = x.rel_bias.rows, queries = x.q.tokens, keys = call.keys();
    detail::check_t5_buckets(f, buckets, options);
    if (out.index && x.kv.differs_by_head())
        fail(f, "heads of kv hold different tokens, needs the same ones for index");
    if (out.index && checks::elements(queries, keys, 1) > checks::most_elements)
        fail(f, "k has " + checks::text(keys) + " tokens, more than memory holds indices of");
    if (out.index)
        detail::OutputMemory(f, InputList(x), x.q, x.kv, out.o, out.lse).add("index", hnd(out.index, 1, queries, keys));
    const auto bucket = [&](std::int64_t d) {
        return t5_bucket(d, buckets, options.max_distance, *options.bidirectional);
    };

    // Distances from max_distance on share a bucket, and those that no pair has need none.
    const std::int64_t first_query = call.first_position(), last_query = first_query + queries - 1,
                       last_key = std::max<std::int64_t>(call.end_of_positions() - 1, 0), least = -options.max_distance,
                       most = *options.bidirectional ? options.max_distance : 0;
    const std::int64_t first = std::clamp(-last_query, least, most),
                       last = std::clamp(last_key - first_query, least, most);
    detail::CallMemory<detail::T5Memory> memory(queries, context);
    memory->buckets.resize(static_cast<std::size_t>(last - first + 1));
    for (std::int64_t d = first; d <= last; ++d) memory->buckets[static_cast<std::size_t>(d - first)] = bucket(d);
    memory->table.set(x.q.heads, first, last, [&](std::int64_t head, std::int64_t d) {
        return x.rel_bias.row(0, memory->buckets[static_cast<std::size_t>(d - first)])[head];
    });
    call.request.edits.push_back(edit(memory->table.edit()));
    call.run();

    const std::int32_t* const positions = x.kv.positions_of(0);
    for (std::int64_t i = 0; out.index && i < queries; ++i)
        for (std::int64_t j = 0; j < keys; ++j) {
            const std::int64_t d = (positions ? positions[j] : j) - first_query - i;
            out.index[i * keys + j] = memory->buckets[static_cast<std::size_t>(std::clamp(d, first, last) - first)];
        }
}

ATTENTA_END
