// Times, memory and errors of a mechanism on the source's tensors.
#pragma once

#include <attenta/catalog.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quality.hpp"
#include "source.hpp"

namespace compare {

/// Operations and bytes that follow from the shapes; none where a mechanism chooses what it reads.
struct Work {
    double flops = 0, bytes = 0;
};

/// Seconds at a context, none where the mechanism has no such phase.
struct Times {
    std::int64_t context = 0;
    std::optional<double> prefill = {}, decode = {};
    std::optional<double> kept = {};  ///< bytes that are left for the next token
};

struct Row {
    const attenta::Mechanism* mechanism = nullptr;
    std::vector<Times> times;
    Quality prefill, decode;  ///< at the longest context
    std::optional<Work> prefill_work, decode_work;
    bool keeps_per_token = false;  ///< what is kept grows with the context, instead of having a size of its own
    std::string parameters;        ///< JSON, of the longest context
    std::string reason;            ///< why something is missing
};

struct Shape {
    std::vector<std::int64_t> contexts;  ///< rising
    std::int64_t budget = 0;
};

/// Never throws attenta::Error: what the mechanism refuses becomes the row's reason.
Row measure(const attenta::Mechanism& mechanism, const Source& source, const Shape& shape, attenta::Context& context);

/// Seconds of the cheapest call through the catalog: one query, one key.
double call_overhead(const Source& source, attenta::Context& context);

}  // namespace compare
