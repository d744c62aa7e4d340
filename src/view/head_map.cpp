#include "head_map.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace view {

namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// 0 and 255 are none and all, nothing between.
std::uint8_t share(std::int64_t kept, std::int64_t of) {
    if (kept == of) return 255;
    const double part = 255.0 * static_cast<double>(kept) / static_cast<double>(of);
    return static_cast<std::uint8_t>(kept == 0 ? 0 : std::clamp(part, 1.0, 254.0));
}

}  // namespace

HeadMap::HeadMap(const Grid& grid, std::int64_t head, std::int64_t first_position, Overlays overlays)
    : grid_(grid),
      head_(head),
      first_position_(first_position),
      overlays_(overlays),
      tiles_(at(grid.tiles())),
      kept_(overlays.size(), {std::vector<std::int64_t>(at(grid.tiles())), 0}),
      received_(at(grid.keys)) {}

void HeadMap::add(std::int64_t query, std::int64_t first, std::span<const float> weights) {
    Tile* const row = tiles_.data() + query / grid_.tile_queries * grid_.cols();
    const std::int64_t position = query + first_position_;
    for (std::int64_t i = 0; i < std::ssize(weights); ++i) {
        const float weight = weights[at(i)];
        if (weight == 0) continue;
        const std::int64_t key = first + i;
        const double w = double{weight};
        Tile& tile = row[key / grid_.tile_keys];
        if (!(std::abs(weight) <= std::abs(tile.max))) tile.max = std::isnan(tile.max) ? tile.max : weight;
        tile.sum += w;
        ++tile.weighing;
        received_[at(key)] += w;
        entropy_ -= w * std::log(w);
        distance_ += w * std::abs(static_cast<double>(position - key));
    }
    if (!overlays_.empty()) add_kept(query, first, weights);
}

void HeadMap::add_kept(std::int64_t query, std::int64_t first, std::span<const float> weights) {
    std::array<bool, 256> kept;
    const std::int64_t row = query / grid_.tile_queries * grid_.cols();
    for (std::size_t begin = 0; begin < weights.size(); begin += kept.size()) {
        const auto part = weights.subspan(begin, std::min(kept.size(), weights.size() - begin));
        const std::int64_t key = first + static_cast<std::int64_t>(begin);
        for (std::size_t o = 0; o < overlays_.size(); ++o) {
            overlays_[o]->row(head_, query, key, {kept.data(), part.size()});
            for (std::size_t i = 0; i < part.size(); ++i) {
                if (!kept[i] || part[i] == 0) continue;
                ++kept_[o].pairs[at(row + (key + static_cast<std::int64_t>(i)) / grid_.tile_keys)];
                kept_[o].mass += double{part[i]};
            }
        }
    }
}

Head HeadMap::finish(std::int64_t layer) const {
    const double queries = static_cast<double>(grid_.queries);
    const auto strongest = std::max_element(received_.begin(), received_.end());
    Head head{.layer = layer,
              .head = head_,
              .entropy = entropy_ / queries,
              .sink = received_[0] / queries,
              .distance = distance_ / queries,
              .strongest = strongest - received_.begin(),
              .received = *strongest / queries,
              .max = {},
              .mean = {},
              .kept = {}};
    for (std::int64_t r = 0; r < grid_.rows(); ++r)
        for (std::int64_t c = 0; c < grid_.cols(); ++c) {
            const Tile& tile = tiles_[at(r * grid_.cols() + c)];
            const auto pairs = static_cast<double>(grid_.queries_of(r) * grid_.keys_of(c));
            head.max.push_back(tile.max);
            head.mean.push_back(static_cast<float>(tile.sum / pairs));
        }
    for (const Kept& kept : kept_) {
        Head::Kept& to = head.kept.emplace_back(Head::Kept{kept.mass / queries, {}});
        for (std::size_t i = 0; i < tiles_.size(); ++i) to.tiles.push_back(share(kept.pairs[i], tiles_[i].weighing));
    }
    return head;
}

}  // namespace view
