#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/softmax/positions/tree_mask.hpp>

#include <algorithm>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Nodes' ancestors as bits, and their positions.
class DraftTree {
public:
    /// `end` is the position behind the context.
    void set(std::span<const std::int64_t> parent, std::int64_t end, std::int64_t window) {
        const auto nodes = static_cast<std::int64_t>(parent.size());
        words_ = (nodes + 63) / 64;
        bits_.assign(static_cast<std::size_t>(nodes * words_), 0);
        position_.resize(parent.size());
        for (std::int64_t n = 0; n < nodes; ++n) {
            const std::int64_t p = parent[static_cast<std::size_t>(n)];
            std::uint64_t* const own = row(n);
            if (p >= 0) std::copy_n(row(p), words_, own);
            own[n / 64] |= std::uint64_t{1} << (n % 64);
            position_[static_cast<std::size_t>(n)] = p < 0 ? end : position(p) + 1;
        }
        if (window >= 0) limit(parent, window);
    }

    std::int64_t nodes() const { return static_cast<std::int64_t>(position_.size()); }
    std::int64_t position(std::int64_t node) const { return position_[static_cast<std::size_t>(node)]; }
    bool sees(std::int64_t node, std::int64_t other) const {
        return (bits_[static_cast<std::size_t>(node * words_ + other / 64)] >> (other % 64) & 1) != 0;
    }
    /// Whether the node sees nodes first .. first + 63, as bits; what is no node counts as seen before the first, and as not
    /// seen behind the last.
    std::uint64_t seen(std::int64_t node, std::int64_t first) const {
        constexpr std::uint64_t all = ~std::uint64_t{0};
        const auto word = [&](std::int64_t w) {
            return w < 0 ? all : w >= words_ ? 0 : bits_[static_cast<std::size_t>(node * words_ + w)];
        };
        const std::int64_t w = first >= 0 ? first / 64 : -((-first + 63) / 64), shift = first - w * 64;
        return shift == 0 ? word(w) : word(w) >> shift | word(w + 1) << (64 - shift);
    }

private:
    std::uint64_t* row(std::int64_t node) { return bits_.data() + node * words_; }

    /// Ancestors before the window are none: from the root down they are the first of each path.
    void limit(std::span<const std::int64_t> parent, std::int64_t window) {
        for (std::int64_t n = 0; n < nodes(); ++n)
            for (std::int64_t a = n; a >= 0; a = parent[static_cast<std::size_t>(a)])
                if (position(n) - position(a) > window) row(n)[a / 64] &= ~(std::uint64_t{1} << (a % 64));
    }

    std::int64_t words_ = 0;
    std::vector<std::uint64_t> bits_;  ///< [nodes, words]
    std::vector<std::int64_t> position_;
};

/// What nodes see of a cache whose last keys are theirs.
struct TreeMask {
    const DraftTree* tree;
    std::int64_t context;  ///< keys before those of the nodes
    std::int64_t window;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        for (std::int64_t i = 0; i < keys.count; i += 64)
            words[i / 64] &= tree->seen(r.index, keys.begin + i - context);
        if (window < 0) return;
        const std::int64_t end = std::min(keys.count, context - keys.begin), first = tree->position(r.index) - window;
        for (std::int64_t i = 0; i < end; ++i)
            if (keys.position(i) < first) words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        if (keys.begin >= context) return keys.begin - context > b.index ? Cover::none : Cover::some;
        if (keys.begin + keys.count > context) return Cover::some;
        if (window < 0) return Cover::all;
        const auto [low, high] = positions(a, b);
        const Interval k = keys.range();
        return k.end <= low - window ? Cover::none : k.begin >= high - window ? Cover::all : Cover::some;
    }
    /// Where keys have no positions of their own: those of nodes are not before their index.
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        return {window < 0 ? everywhere.begin : positions(a, b).begin - window, context + b.index + 1};
    }

private:
    Interval positions(const QueryRow& a, const QueryRow& b) const {
        Interval p{tree->position(a.index), tree->position(a.index)};
        for (std::int64_t n = a.index; n <= b.index; ++n)
            p = {std::min(p.begin, tree->position(n)), std::max(p.end, tree->position(n))};
        return p;
    }
};

inline void check_tree(const char* f, std::span<const std::int64_t> parent) {
    for (std::size_t n = 0; n < parent.size(); ++n)
        if (parent[n] < -1 || parent[n] >= static_cast<std::int64_t>(n))
            fail(f, "parent[" + std::to_string(n) + "] is " + checks::text(parent[n]) +
                        ", needs -1 or a node before node " + std::to_string(n));
}

/// Behind the newest token of the context.
inline std::int64_t end_of_context(const KvView& kv, std::int64_t context) {
    const std::int32_t* const positions = kv.positions_of(0);
    if (!positions) return context;
    return context == 0 ? 0 : std::int64_t{*std::max_element(positions, positions + context)} + 1;
}

}  // namespace detail

ATTENTA_INLINE void tree_mask(const TreeMaskInputs& x, const TreeMaskOutputs& out, const TreeMaskOptions& options,
                              Context& context) {
    const char* const f = "tree_mask";
    checks::require_at_least(f, "window_left", options.window_left, -1);
    detail::SoftmaxCall call = detail::check_softmax(
        f, x, out, detail::scale_or_default(options.scale, std::max<std::int64_t>(x.q.dim, 1)), {}, context);
    const std::int64_t nodes = x.q.tokens, before = call.keys() - nodes;
    if (before < 0)
        fail(f, "q has " + checks::text(nodes) + " tokens, needs at most the " + checks::text(call.keys()) + " of k");
    if (x.kv.differs_by_head()) fail(f, "heads of kv hold different tokens, needs the same ones");
    detail::check_tree(f, x.parent);
    const InputList inputs(x);
    detail::OutputMemory memory(f, inputs, x.q, x.kv, out.o, out.lse);
    if (out.position) memory.add("position", hnd(out.position, 1, 1, nodes));
    if (out.tree) memory.add("tree", hnd(out.tree, 1, nodes, nodes));

    detail::CallMemory<detail::DraftTree> tree(nodes, context);
    tree->set(x.parent, detail::end_of_context(x.kv, before), options.window_left);
    call.request.masks.push_back(detail::TreeMask{&*tree, before, options.window_left});
    call.request.sink = x.sink;
    call.run();
    for (std::int64_t n = 0; n < nodes; ++n) {
        if (out.position) out.position[n] = tree->position(n);
        for (std::int64_t m = 0; out.tree && m < nodes; ++m) out.tree[n * nodes + m] = tree->sees(n, m);
    }
}

ATTENTA_END
