#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/sparse/content/social.hpp>
#include <attenta/sparse/further_outputs.hpp>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_social(const SocialInputs& x, const SocialOptions& o) {
    const char* const f = "social";
    check_selection(f, InputList(x), x.q, x.kv);
    require_at_least(f, "period", o.period, 1);
    require_at_least(f, "delta", o.delta, 0);
    require_at_least(f, "window", o.window, 1);
    require_at_least(f, "circles", o.circles, 1);
    require_at_least(f, "circle_size", o.circle_size, o.partition == SocialPartition::edge ? 2 : 1);
    if (!is_finite(o.sparsity) || o.sparsity <= 0)
        fail(f, "sparsity is " + std::to_string(o.sparsity) + ", needs a finite number above 0");
    for (const float m : o.mix)
        if (!is_finite(m)) fail(f, "mix has " + std::to_string(m) + ", needs finite numbers");
    for (std::size_t t = 0; t < x.match.size(); ++t)
        if (x.match[t] != 0 && x.match[t] != 1)
            fail(f, "match is " + std::to_string(x.match[t]) + " at " + std::to_string(t) + ", needs 0 or 1");
}

inline void normalise(std::vector<double>& x) {
    const auto [least, most] = std::minmax_element(x.begin(), x.end());
    const double low = *least, width = *most - *least;
    if (width > 0)
        for (double& y : x) y = (y - low) / width;
}

/// P_ij = Σ of three products u_i u_j, and a function of the distance.
class SocialProbabilities {
public:
    SocialProbabilities(const SocialInputs& x, const SocialOptions& o) : tokens_(x.coin.heads) {
        const auto n = static_cast<std::size_t>(tokens_);
        by_distance_.resize(n);
        for (std::int64_t t = 0; t < tokens_; ++t) {
            const auto step = static_cast<double>(t / o.period + 1);
            by_distance_[static_cast<std::size_t>(t)] = 1 / (step * step);
        }
        normalise(by_distance_);
        weights_[0].assign(x.w_dynamic.begin(), x.w_dynamic.end());
        weights_[1] = matches_near(x, o);
        weights_[2].assign(x.w_static.begin(), x.w_static.end());

        double sum = 0;
        for (std::size_t w = 0; w < 3; ++w) {
            factor_[w] = double{o.mix[w]};
            const double all = std::accumulate(weights_[w].begin(), weights_[w].end(), 0.0);
            sum += factor_[w] * all * all;
        }
        for (std::int64_t t = 0; t < tokens_; ++t) {
            double& p = by_distance_[static_cast<std::size_t>(t)];
            p *= double{o.mix[3]};
            sum += p * static_cast<double>(t == 0 ? tokens_ : 2 * (tokens_ - t));
        }
        if (!(sum > 0))
            fail("social", "the edges' probabilities have the sum " + std::to_string(sum) + ", needs one above 0");
        const double scale = double{o.sparsity} * static_cast<double>(tokens_) * static_cast<double>(tokens_) / sum;
        for (double& f : factor_) f *= scale;
        for (double& p : by_distance_) p *= scale;
    }

    /// P_ij of j <= i.
    void row(std::int64_t i, double* p) const {
        const auto at = static_cast<std::size_t>(i);
        const double a = factor_[0] * weights_[0][at], b = factor_[1] * weights_[1][at],
                     c = factor_[2] * weights_[2][at];
        for (std::size_t j = 0; j <= at; ++j)
            p[j] = a * weights_[0][j] + b * weights_[1][j] + c * weights_[2][j] + by_distance_[at - j];
    }

private:
    static std::vector<double> matches_near(const SocialInputs& x, const SocialOptions& o) {
        const auto tokens = static_cast<std::int64_t>(x.match.size());
        std::vector<double> gain(x.match.size());
        for (std::int64_t m = 0; m < tokens; ++m) {
            if (x.match[static_cast<std::size_t>(m)] == 0) continue;
            const std::int64_t before = std::min(o.delta, m), after = std::min(o.delta, tokens - m);
            for (std::int64_t i = m - before; i < m + after; ++i)
                gain[static_cast<std::size_t>(i)] += 1 / static_cast<double>((m < i ? i - m : m - i) / o.window + 1);
        }
        normalise(gain);
        return gain;
    }

    std::int64_t tokens_;
    std::array<std::vector<double>, 3> weights_;
    std::array<double, 3> factor_ = {};
    std::vector<double> by_distance_;
};

/// Whom each token knows, in order.
using SocialGraph = std::vector<std::vector<std::int32_t>>;

inline SocialGraph draw_edges(const SocialInputs& x, const SocialOptions& options, Context& context) {
    const SocialProbabilities probabilities(x, options);
    const std::int64_t tokens = x.coin.heads;
    SocialGraph graph(static_cast<std::size_t>(tokens)), earlier = graph;
    run_tasks(context.executor(), tokens, [&](std::int64_t i, int) {
        std::vector<double> p(static_cast<std::size_t>(i + 1));
        probabilities.row(i, p.data());
        for (std::int64_t j = 0; j <= i; ++j)
            if (double{x.coin.row(i, j)[0]} <= p[static_cast<std::size_t>(j)])
                earlier[static_cast<std::size_t>(i)].push_back(static_cast<std::int32_t>(j));
    });
    for (std::size_t i = 0; i < earlier.size(); ++i)
        for (const std::int32_t j : earlier[i]) {
            graph[i].push_back(j);
            if (static_cast<std::size_t>(j) != i)
                graph[static_cast<std::size_t>(j)].push_back(static_cast<std::int32_t>(i));
        }
    return graph;
}

/// Takes the circle's edges out of a graph that has no edge from a token to itself.
inline void use_up(SocialGraph& graph, const std::vector<std::int32_t>& circle, SocialPartition partition) {
    std::vector<bool> member(graph.size());
    for (const std::int32_t m : circle) member[static_cast<std::size_t>(m)] = true;
    const auto is_member = [&](std::int32_t i) { return member[static_cast<std::size_t>(i)]; };
    for (std::size_t i = 0; i < graph.size(); ++i) {
        if (partition == SocialPartition::node && member[i]) graph[i].clear();
        if (partition == SocialPartition::node || member[i]) std::erase_if(graph[i], is_member);
    }
}

/// Circles of friends, [circles, circle_size].
inline void give_circles(SocialGraph graph, const SocialOptions& o, std::int64_t* nodes) {
    std::fill_n(nodes, o.circles * o.circle_size, -1);
    for (std::size_t i = 0; i < graph.size(); ++i) std::erase(graph[i], static_cast<std::int32_t>(i));
    const bool edge = o.partition == SocialPartition::edge;
    const auto friends =
        static_cast<std::size_t>(edge ? std::max<std::int64_t>(1, o.circle_size - 2) : o.circle_size - 1);
    for (std::int64_t c = 0; c < o.circles; ++c, nodes += o.circle_size) {
        const auto centre = std::max_element(graph.begin(), graph.end(),
                                             [](const auto& a, const auto& b) { return a.size() < b.size(); });
        if (centre->empty()) return;
        std::vector<std::int32_t> circle = {static_cast<std::int32_t>(centre - graph.begin())};
        const std::size_t count = std::min(friends, centre->size());
        circle.insert(circle.end(), centre->begin(), centre->begin() + static_cast<std::ptrdiff_t>(count));
        std::copy(circle.begin(), circle.end(), nodes);
        use_up(graph, circle, o.partition);
    }
}

}  // namespace detail

ATTENTA_INLINE void social_lists(const SocialInputs& x, KeyLists& lists, const SocialOptions& options, Context& context,
                                 std::int64_t* circle_nodes) {
    detail::check_social(x, options);
    const detail::SocialGraph graph = detail::draw_edges(x, options, context);
    const std::int64_t tokens = x.coin.heads;
    lists.reset({.heads = 1, .queries = tokens, .keys = tokens});
    for (std::int64_t i = 0; i < tokens; ++i) {
        bool itself = options.self_loops;  // to be added
        for (const std::int32_t j : graph[static_cast<std::size_t>(i)]) {
            if (itself && j > i) lists.add(i, 1);
            if (j >= i) itself = false;
            lists.add(j, 1);
        }
        if (itself) lists.add(i, 1);
        lists.end_list();
    }
    if (circle_nodes) detail::give_circles(graph, options, circle_nodes);
}

ATTENTA_INLINE void social(const SocialInputs& x, const SocialOutputs& out, const SocialOptions& options,
                           Context& context) {
    const auto call = detail::check_sparse("social", x, out, options, Positions::same, context);
    detail::check_social(x, options);
    if (out.circle_nodes)
        detail::FurtherOutputs(call, InputList(x))
            .add("circle_nodes", Heads<std::int64_t>{out.circle_nodes, 1, options.circles, options.circle_size, 0,
                                                     options.circle_size});
    detail::CallLists lists(call);
    social_lists(x, *lists, options, context, out.circle_nodes);
    call.attend(*lists);
}

ATTENTA_END
