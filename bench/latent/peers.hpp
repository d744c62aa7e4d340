// Attention on latents as other libraries have it, each of which has a file in peers/ that makes it known.
#pragma once

#include "bench/added.hpp"

#include <attenta/core/view.hpp>

#include <cstddef>
#include <functional>
#include <string_view>
#include <vector>

namespace bench {

/// One token's absorbed queries [Hq, 1, R + Dr] on caches of layers whose rows [1, Tk, R + Dr] begin with their values; o
/// [Hq, 1, R]. No projections. Without gaps.
struct LatentProblem {
    attenta::Heads<const float> q;
    std::vector<attenta::Heads<const float>> layers;
    attenta::Heads<float> o;
    float scale;
};

struct LatentPeer {
    std::string_view library;
    /// A run writes o for the layer.
    std::function<void(std::size_t layer)> (*prepare)(const LatentProblem& problem);
};

}  // namespace bench
