// Who computes attention in the benchmarks.
#pragma once

#include "bench/problem.hpp"

#include <attenta/core/isa.hpp>

#include <cstddef>
#include <functional>
#include <string_view>

namespace bench {

/// Computes the output of one copy of the problem that it was prepared for.
using Run = std::function<void(std::size_t copy)>;

struct Implementation {
    std::string_view name;
    /// Everything that is done once per shape, outside of the timing.
    Run (*prepare)(const Problem& problem);
    /// The instruction set whose peak it is measured against.
    attenta::Isa (*isa)();
};

/// Throws std::invalid_argument for an unknown name.
const Implementation& implementation(std::string_view name);

}  // namespace bench
