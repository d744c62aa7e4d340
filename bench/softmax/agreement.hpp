// A figure of someone who computes something else is worth nothing.
#pragma once

#include "bench/softmax/implementations.hpp"

#include <string_view>

namespace bench {

/// Runs copy 0 by `run` and by attenta, `ours`. Throws std::runtime_error where the results are further apart than rounding in
/// the dtype of K and V explains.
void require_agreement(const Problem& problem, std::string_view name, const Run& run, const Run& ours);

}  // namespace bench
