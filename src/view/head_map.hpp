// A head's weights in tiles, and numbers of its rows, gathered in one walk over the weights, which are never held.
//
//   entropy   = mean_i −Σ_j a_ij ln a_ij              received_j = mean_i a_ij
//   distance  = mean_i Σ_j a_ij |position_i − j|      kept mass  = mean_i Σ_{j kept} a_ij
//
// Means are over all queries; one that sees no key counts as 0. The analysis family has these read-outs on whole matrices
// (head_distance, sink_metrics).
#pragma once

#include "grid.hpp"
#include "kept_pairs.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace view {

/// What stays of a head.
struct Head {
    struct Kept {
        double mass = 0;
        std::vector<std::uint8_t> tiles;  ///< [rows, cols] 255 · the kept share of the pairs that weigh anything
    };

    std::int64_t layer = 0, head = 0;
    double entropy = 0;   ///< nats
    double sink = 0;      ///< what key 0 receives
    double distance = 0;  ///< tokens
    std::int64_t strongest = 0;
    double received = 0;      ///< by the strongest key
    std::vector<float> max;   ///< [rows, cols] the weight of largest size, NaN where one is
    std::vector<float> mean;  ///< over all pairs of a tile, hidden ones too: the sums of rows stay what they are
    std::vector<Kept> kept;   ///< of each overlay
};

class HeadMap {
public:
    using Overlays = std::span<const KeptPairs* const>;

    /// Query 0 stands at first_position. The overlays are borrowed.
    HeadMap(const Grid& grid, std::int64_t head, std::int64_t first_position, Overlays overlays);

    /// Weights of a query for the keys from `first` on. What nobody adds is 0.
    void add(std::int64_t query, std::int64_t first, std::span<const float> weights);
    Head finish(std::int64_t layer) const;

private:
    struct Tile {
        float max = 0;
        std::int64_t weighing = 0;
        double sum = 0;
    };
    struct Kept {
        std::vector<std::int64_t> pairs;  ///< [rows, cols]
        double mass = 0;
    };

    void add_kept(std::int64_t query, std::int64_t first, std::span<const float> weights);

    Grid grid_;
    std::int64_t head_, first_position_;
    Overlays overlays_;
    std::vector<Tile> tiles_;
    std::vector<Kept> kept_;
    std::vector<double> received_;
    double entropy_ = 0, distance_ = 0;
};

}  // namespace view
