// Maximum flow through layers of nodes that are all joined to those of the next layer. Dinic 1970.
#pragma once

#include <attenta/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

/// Edges from node (l + 1, i) to (l, j), l < layers, with capacities [layers, width, width]. What is left of a capacity counts as
/// nothing from 1e-12 down.
class LayeredFlow {
public:
    LayeredFlow(std::span<const double> capacity, std::int64_t layers, std::int64_t width)
        : capacity_(capacity), layers_(layers), width_(width) {}

    /// The largest flow from (layers, source) to (0, sink).
    double maximum(std::int64_t source, std::int64_t sink) {
        forward_.assign(capacity_.begin(), capacity_.end());
        backward_.assign(capacity_.size(), 0.0);
        source_ = layers_ * width_ + source;
        sink_ = sink;
        double total = 0;
        while (find_levels()) {
            next_.assign(level_.size(), 0);
            for (double more = 1; more != 0; total += more)
                more = push(source_, std::numeric_limits<double>::infinity());
        }
        return total;
    }

private:
    static constexpr double least = 1e-12;
    static constexpr std::int64_t far = -1;

    /// Neighbour n of a node: those of the layer below, then those above.
    std::int64_t neighbour(std::int64_t node, std::int64_t n) const {
        const std::int64_t layer = node / width_;
        return n < width_ ? (layer - 1) * width_ + n : (layer + 1) * width_ + n - width_;
    }
    bool exists(std::int64_t node, std::int64_t n) const {
        const std::int64_t layer = node / width_;
        return n < width_ ? layer > 0 : layer < layers_;
    }
    /// What may still flow to that neighbour, downwards, or upwards to take back what flows down.
    double& residual(std::int64_t node, std::int64_t n) {
        const std::int64_t layer = node / width_, i = node % width_;
        return n < width_ ? forward_[static_cast<std::size_t>(((layer - 1) * width_ + i) * width_ + n)]
                          : backward_[static_cast<std::size_t>((layer * width_ + n - width_) * width_ + i)];
    }
    double& opposite(std::int64_t node, std::int64_t n) {
        const std::int64_t layer = node / width_, i = node % width_;
        return n < width_ ? backward_[static_cast<std::size_t>(((layer - 1) * width_ + i) * width_ + n)]
                          : forward_[static_cast<std::size_t>((layer * width_ + n - width_) * width_ + i)];
    }

    /// Distances from the source through what is left; whether the sink is reached.
    bool find_levels() {
        level_.assign(static_cast<std::size_t>((layers_ + 1) * width_), far);
        queue_.assign(1, source_);
        level_[static_cast<std::size_t>(source_)] = 0;
        for (std::size_t at = 0; at < queue_.size(); ++at) {
            const std::int64_t node = queue_[at];
            if (node == sink_) return true;
            for (std::int64_t n = 0; n < 2 * width_; ++n) {
                if (!exists(node, n) || residual(node, n) <= least) continue;
                const std::int64_t to = neighbour(node, n);
                if (level_[static_cast<std::size_t>(to)] != far) continue;
                level_[static_cast<std::size_t>(to)] = level_[static_cast<std::size_t>(node)] + 1;
                queue_.push_back(to);
            }
        }
        return false;
    }

    /// One path of the blocking flow from `node` to the sink, of at most `most`; paths are as long as there are levels.
    double push(std::int64_t node, double most) {
        if (node == sink_) return most;
        for (std::int64_t& n = next_[static_cast<std::size_t>(node)]; n < 2 * width_; ++n) {
            if (!exists(node, n) || residual(node, n) <= least) continue;
            const std::int64_t to = neighbour(node, n);
            if (level_[static_cast<std::size_t>(to)] != level_[static_cast<std::size_t>(node)] + 1) continue;
            const double pushed = push(to, std::min(most, residual(node, n)));
            if (pushed == 0) continue;
            residual(node, n) -= pushed;
            opposite(node, n) += pushed;
            return pushed;
        }
        return 0;
    }

    std::span<const double> capacity_;
    std::int64_t layers_, width_, source_ = 0, sink_ = 0;
    std::vector<double> forward_, backward_;
    std::vector<std::int64_t> level_, next_, queue_;
};

}  // namespace analysis

ATTENTA_END
