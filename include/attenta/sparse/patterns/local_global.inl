#pragma once

#include <attenta/engine/common/checks.hpp>
#include <attenta/sparse/patterns/local_global.hpp>
#include <attenta/sparse/patterns/parts.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The whole pattern.
struct LocalGlobalMask {
    std::span<const std::int64_t> global, dilation;
    std::int64_t window;
    bool causal;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const {
        const std::int64_t d = dilation.data()[dilation.size() == 1 ? 0 : static_cast<std::size_t>(r.head)];
        const bool all = is_global(r.position);
        for (std::int64_t i = 0; i < keys.count; ++i) {
            const std::int64_t j = keys.position(i), steps = std::abs(r.position - j) / d;
            const bool near = steps <= window && steps * d == std::abs(r.position - j);
            if ((causal && j > r.position) || !(near || all || is_global(j)))
                words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
        }
    }
    bool is_global(std::int64_t j) const { return std::find(global.begin(), global.end(), j) != global.end(); }
};

/// Keys that are none of some ascending ones.
struct Without {
    std::span<const std::int64_t> keys;

    void bits(const QueryRow&, const KeyBlock& block, std::uint64_t* words) const {
        if (classify({}, {}, block) == Cover::all) return;  // as it is but for few blocks
        for (std::int64_t i = 0; i < block.count; ++i)
            if (std::binary_search(keys.begin(), keys.end(), block.position(i)))
                words[i / 64] &= ~(std::uint64_t{1} << (i % 64));
    }
    Cover classify(const QueryRow&, const QueryRow&, const KeyBlock& block) const {
        const Interval k = block.range();
        const auto first = std::lower_bound(keys.begin(), keys.end(), k.begin),
                   last = std::lower_bound(first, keys.end(), k.end);
        if (first == last) return Cover::all;
        return last - first == k.end - k.begin ? Cover::none : Cover::some;
    }
};

/// Rows that stand at ascending positions see the keys up to them.
struct CausalRows {
    std::span<const std::int64_t> positions;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range();
        if (k.begin >= hull(b, b).end) return Cover::none;
        return k.end <= hull(a, a).end ? Cover::all : Cover::some;
    }
    Interval hull(const QueryRow&, const QueryRow& b) const {
        return {everywhere.begin, positions.data()[static_cast<std::size_t>(b.index)] + 1};
    }
};

/// One call of local_global.
class LocalGlobal {
public:
    LocalGlobal(const SparseCall& call, const LocalGlobalInputs& x, const LocalGlobalOptions& options)
        : call_(&call), x_(&x), options_(&options) {
        check_options();
        for (std::size_t g = 0; g < x.global_index.size(); ++g)
            order_.push_back({x.global_index.data()[g], static_cast<std::int64_t>(g)});
        std::sort(order_.begin(), order_.end());
        for (const auto& [token, row] : order_) global_.push_back(token);
        check_global();
    }

    void run() const {
        std::vector<std::int64_t> dilations = options_->dilation;
        std::sort(dilations.begin(), dilations.end());
        dilations.erase(std::unique(dilations.begin(), dilations.end()), dilations.end());
        if (global_.empty() && dilations == std::vector<std::int64_t>{1}) return call_->attend(window(1));
        SparseParts parts(*call_, static_cast<std::int64_t>(dilations.size()) + (global_.empty() ? 0 : 1));
        for (const std::int64_t d : dilations) add_windows(parts, d, dilations.size() == 1);
        if (!global_.empty()) add_global_keys(parts);
        parts.merge();
        if (!global_.empty()) run_global_rows();
    }

private:
    Window window(std::int64_t d) const {
        const std::int64_t reach = saturating::multiply(options_->window, d);
        return {reach, options_->causal ? 0 : reach};
    }

    /// The windows of the heads with a dilation, without global keys.
    void add_windows(SparseParts& parts, std::int64_t d, bool of_all_heads) const {
        const Mask mask = window(d) && Without{global_};
        if (d == 1 && of_all_heads) return parts.add(part_of(*call_, nullptr, mask));
        KeyLists lists = d == 1 ? hull_lists(*call_, window(d)) : residue_lists(*call_, d);
        if (!of_all_heads)
            lists = for_heads(lists, call_->q.heads, [&](std::int64_t h) {
                return options_->dilation.data()[static_cast<std::size_t>(h)] == d;
            });
        parts.add(part_of(*call_, &lists, mask));
    }

    void add_global_keys(SparseParts& parts) const {
        KeyLists lists({.queries = call_->q.tokens, .keys = call_->keys(), .query_block = call_->q.tokens});
        for (const std::int64_t j : global_) lists.add(j, 1);
        lists.end_list();
        parts.add(part_of(*call_, &lists, options_->causal ? Mask(Causal{}) : Mask()));
    }

    /// Attention of global tokens to all keys takes the place of what their rows have got.
    void run_global_rows() const {
        const Heads<const float>& q = call_->q;
        const auto rows = static_cast<std::int64_t>(global_.size());
        const KvView& kv = x_->kv_global.k.data ? x_->kv_global : call_->kv;
        std::vector<float> queries(static_cast<std::size_t>(q.heads * rows * q.dim)),
            o(static_cast<std::size_t>(q.heads * rows * kv.v.dim)), lse(static_cast<std::size_t>(q.heads * rows));
        const Heads<float> to = hnd(queries.data(), q.heads, rows, q.dim),
                           result = hnd(o.data(), q.heads, rows, kv.v.dim);
        for (std::int64_t h = 0; h < q.heads; ++h)
            for (std::int64_t g = 0; g < rows; ++g) {
                const auto [token, row] = order_[static_cast<std::size_t>(g)];
                std::copy_n(x_->q_global.data ? x_->q_global.row(h, row) : q.row(h, token), q.dim, to.row(h, g));
            }
        attention::Request r = call_->request();
        r.q = to;
        r.kv = kv;
        if (options_->causal) r.masks.push_back(CausalRows{global_});
        attention::plan(r, *call_->context).run(to, kv, result, lse.data());
        for (std::int64_t h = 0; h < q.heads; ++h)
            for (std::int64_t g = 0; g < rows; ++g) {
                const std::int64_t token = global_[static_cast<std::size_t>(g)];
                std::copy_n(result.row(h, g), kv.v.dim, call_->out.o.row(h, token));
                if (call_->out.lse) call_->out.lse[h * q.tokens + token] = lse[static_cast<std::size_t>(h * rows + g)];
            }
    }

    void check_options() const {
        const char* const f = call_->function;
        require_at_least(f, "window", options_->window, 0);
        const auto dilations = static_cast<std::int64_t>(options_->dilation.size());
        if (dilations != 1 && dilations != call_->q.heads)
            fail(f, "dilation has " + std::to_string(dilations) + " elements, needs 1 or the " +
                        std::to_string(call_->q.heads) + " of query heads");
        for (const std::int64_t d : options_->dilation) require_at_least(f, "dilation", d, 1);
    }

    void check_global() const {
        using checks::text;
        const char* const f = call_->function;
        for (std::size_t g = 0; g < global_.size(); ++g) {
            if (global_[g] < 0 || global_[g] >= call_->keys())
                fail(f, "global_index has " + text(global_[g]) + ", needs 0 to " + text(call_->keys() - 1));
            if (g > 0 && global_[g] == global_[g - 1])
                fail(f, "global_index has " + text(global_[g]) + " twice, needs each token once");
        }
        const auto count = static_cast<std::int64_t>(global_.size());
        if (x_->q_global.data && x_->q_global.tokens != count)
            fail(f, "q_global has " + text(x_->q_global.tokens) + " tokens, needs the " + text(count) +
                        " of global_index");
        const KvView& kv = x_->kv_global;
        if (!kv.k.data && !kv.v.data) return;
        if (kv.sequences != 1 || kv.positions)
            fail(f, "kv_global has " + text(kv.sequences) + " sequences" + (kv.positions ? " with positions" : "") +
                        ", needs one in order");
        const NamedBytes own[] = {{"k_global", bytes_of(kv, kv.k)}, {"v_global", bytes_of(kv, kv.v)}};
        checks::check_pointer(f, "k_global", kv.k.data, size_of(kv.k.dtype), true);
        checks::check_pointer(f, "v_global", kv.v.data, size_of(kv.v.dtype), true);
        attention::Request r = call_->request();
        r.kv = kv;
        attention::check(r);
        attention::check_tensors(f, call_->q, call_->kv, &call_->out.o, call_->out.lse, own);
        if (!options_->check_data) return;
        check_rows(f, "k_global", kv, false);
        check_rows(f, "v_global", kv, true);
    }

    const SparseCall* call_;
    const LocalGlobalInputs* x_;
    const LocalGlobalOptions* options_;
    std::vector<std::pair<std::int64_t, std::int64_t>>
        order_;                         ///< global tokens, ascending, and their rows of q_global
    std::vector<std::int64_t> global_;  ///< the tokens alone
};

}  // namespace detail

ATTENTA_INLINE Mask local_global_mask(std::span<const std::int64_t> global_index, const LocalGlobalOptions& options) {
    detail::require_at_least("local_global", "window", options.window, 0);
    if (options.dilation.empty()) fail("local_global", "dilation has no elements, needs at least one");
    for (const std::int64_t d : options.dilation) detail::require_at_least("local_global", "dilation", d, 1);
    return detail::LocalGlobalMask{global_index, options.dilation, options.window, options.causal};
}

ATTENTA_INLINE void local_global(const LocalGlobalInputs& x, const SparseOutputs& out,
                                 const LocalGlobalOptions& options, Context& context) {
    const auto call = detail::check_sparse("local_global", x, out, options, Positions::same, context);
    const detail::LocalGlobal whole(call, x, options);
    whole.run();
    detail::give_lists(call, local_global_mask(x.global_index, options), options.dilation.size() == 1 ? 1 : x.q.heads);
}

ATTENTA_END
