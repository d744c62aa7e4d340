#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/linear/features/sea.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/key_rows.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// Which entries of the estimate are kept, [Hq, Tq, W].
class SeaEntries {
public:
    SeaEntries(const SeaInputs& x, const SeaOptions& options, std::int64_t keys)
        : e_(x.estimate),
          options_(options),
          keys_(keys),
          kept_(static_cast<std::size_t>(e_.heads * e_.tokens * e_.dim)) {
        const std::int64_t heads = e_.heads, queries = e_.tokens;
        switch (options.group) {
            case SeaGroup::query:
                for (std::int64_t h = 0; h < heads; ++h)
                    for (std::int64_t i = 0; i < queries; ++i) keep({h, h + 1}, {i, i + 1}, seen(i));
                break;
            case SeaGroup::causal_batch:
                for (std::int64_t i = 0; i < queries; ++i) keep({0, heads}, {i, i + 1}, seen(i));
                break;
            case SeaGroup::head:
                for (std::int64_t h = 0; h < heads; ++h) keep({h, h + 1}, {0, queries}, keys);
                break;
            case SeaGroup::batch:
                keep({0, heads}, {0, queries}, keys);
        }
    }

    /// Keys that query i sees.
    std::int64_t seen(std::int64_t i) const { return options_.causal ? keys_ - e_.tokens + i + 1 : keys_; }
    const std::uint8_t* row(std::int64_t h, std::int64_t i) const {
        return kept_.data() + (h * e_.tokens + i) * e_.dim;
    }
    std::span<const std::uint8_t> all() const { return kept_; }

    /// The entry of key j among n.
    std::int64_t entry_of(std::int64_t j, std::int64_t n) const {
        const double at = (static_cast<double>(j) + 0.5) / static_cast<double>(n) * static_cast<double>(e_.dim) - 1e-4;
        return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(at)), 0, e_.dim - 1);
    }
    /// The first key of entry m or one behind it, n for the entry behind the last.
    std::int64_t first_key(std::int64_t m, std::int64_t n) const {
        if (m <= 0) return 0;
        if (m >= e_.dim) return n;
        const double near =
            (static_cast<double>(m) + 1e-4) * static_cast<double>(n) / static_cast<double>(e_.dim) - 0.5;
        std::int64_t j = std::clamp<std::int64_t>(static_cast<std::int64_t>(near), 0, n);
        while (j > 0 && entry_of(j - 1, n) >= m) --j;
        while (j < n && entry_of(j, n) < m) ++j;
        return j;
    }

    KeyLists lists() const {
        KeyLists lists({.heads = e_.heads, .queries = e_.tokens, .keys = keys_});
        for (std::int64_t h = 0; h < e_.heads; ++h)
            for (std::int64_t i = 0; i < e_.tokens; ++i) {
                const std::int64_t n = seen(i);
                for (std::int64_t m = 0; m < e_.dim; ++m) {
                    if (!row(h, i)[m]) continue;
                    const std::int64_t first = first_key(m, n);
                    lists.add(first, first_key(m + 1, n) - first);
                }
                lists.end_list();
            }
        return lists;
    }

private:
    /// Of these heads and queries.
    void keep(Interval heads, Interval queries, std::int64_t n) {
        const std::int64_t rows = queries.end - queries.begin, size = (heads.end - heads.begin) * rows * e_.dim;
        const double budget = static_cast<double>((heads.end - heads.begin) * rows) * static_cast<double>(options_.k) *
                              static_cast<double>(e_.dim) / static_cast<double>(n);
        const auto count = static_cast<std::int64_t>(
            std::clamp(std::nearbyint(budget), 1., static_cast<double>(size)));  // half to even
        const auto place = [&](std::int64_t entry) {
            return std::pair{heads.begin + entry / (rows * e_.dim), queries.begin + entry / e_.dim % rows};
        };
        const auto value = [&](std::int64_t entry) {
            const auto [h, i] = place(entry);
            const float y = e_.row(h, i)[entry % e_.dim];
            return y == y ? y : -std::numeric_limits<float>::infinity();  // NaN is in no order
        };
        order_.resize(static_cast<std::size_t>(size));
        std::iota(order_.begin(), order_.end(), std::int64_t{0});
        std::nth_element(order_.begin(), order_.begin() + (count - 1), order_.end(),
                         [&](std::int64_t a, std::int64_t b) {
                             const float x = value(a), y = value(b);
                             return x != y ? x > y : a < b;
                         });
        for (std::int64_t n_kept = 0; n_kept < count; ++n_kept) {
            const std::int64_t entry = order_[static_cast<std::size_t>(n_kept)];
            const auto [h, i] = place(entry);
            kept_[static_cast<std::size_t>((h * e_.tokens + i) * e_.dim + entry % e_.dim)] = 1;
        }
    }

    const Heads<const float> e_;
    const SeaOptions options_;
    const std::int64_t keys_;
    std::vector<std::uint8_t> kept_;
    std::vector<std::int64_t> order_;
};

/// Mixes o of the heads of a K/V head with averages of its values.
class SeaAverages {
public:
    SeaAverages(const SparseCall& call, const SeaInputs& x, const SeaEntries& entries, std::int64_t head)
        : call_(call), x_(x), entries_(entries), values_(values_as_keys(call.kv)), head_(head) {}

    /// The mean of what a query sees.
    void mix_causal() {
        std::vector<double> sum(dim_v());
        std::vector<float> value(dim_v());
        for (std::int64_t j = 0; j < call_.keys(); ++j) {
            read_key(values_, head_, j, value.data());
            for (std::size_t e = 0; e < dim_v(); ++e) sum[e] += double{value[e]};
            const std::int64_t i = j - call_.first_position();
            if (i < 0) continue;
            for (std::int64_t h = first_reader(); h < first_reader() + call_.group(); ++h)
                mix(h, i, sum.data(), 1 / static_cast<double>(j + 1));
        }
    }

    /// Values summed entry by entry, weighted by the estimate's mean.
    void mix_all() {
        const std::int64_t W = x_.estimate.dim, queries = call_.q.tokens;
        std::vector<double> sums(static_cast<std::size_t>(W) * dim_v()), average(dim_v());
        std::vector<float> value(dim_v());
        for (std::int64_t j = 0; j < call_.keys(); ++j) {
            read_key(values_, head_, j, value.data());
            double* const sum = sums.data() + entries_.entry_of(j, call_.keys()) * call_.kv.v.dim;
            for (std::size_t e = 0; e < dim_v(); ++e) sum[e] += double{value[e]};
        }
        for (std::int64_t h = first_reader(); h < first_reader() + call_.group(); ++h) {
            std::fill(average.begin(), average.end(), 0.);
            for (std::int64_t m = 0; m < W; ++m) {
                double weight = 0;
                for (std::int64_t i = 0; i < queries; ++i) weight += double{x_.estimate.row(h, i)[m]};
                for (std::size_t e = 0; e < dim_v(); ++e)
                    average[e] += weight * sums[static_cast<std::size_t>(m) * dim_v() + e];
            }
            for (std::int64_t i = 0; i < queries; ++i) mix(h, i, average.data(), 1 / static_cast<double>(queries));
        }
    }

private:
    std::size_t dim_v() const { return static_cast<std::size_t>(call_.kv.v.dim); }
    std::int64_t first_reader() const { return head_ * call_.group(); }
    static double sigmoid(float x) { return 1 / (1 + std::exp(-double{x})); }

    void mix(std::int64_t h, std::int64_t i, const double* average, double factor) const {
        const double gate = sigmoid(x_.mix_gate.row(h, i)[0]),
                     scale = x_.row_scale.data ? gate * sigmoid(x_.row_scale.row(h, i)[0]) : gate;
        float* const o = call_.out.o.row(h, i);
        for (std::int64_t e = 0; e < call_.kv.v.dim; ++e)
            o[e] = static_cast<float>(scale * double{o[e]} + (1 - gate) * factor * average[e]);
    }

    const SparseCall& call_;
    const SeaInputs& x_;
    const SeaEntries& entries_;
    const KvView values_;
    const std::int64_t head_;
};

inline void check_sea(const SeaInputs& x, const SeaOptions& options) {
    require_at_least("sea", "k", options.k, 1);
    if (x.estimate.dim < 1) fail("sea", "estimate has " + checks::text(x.estimate.dim) + " entries, needs at least 1");
    if (options.causal && options.group != SeaGroup::causal_batch)
        fail("sea", "group is " + std::string(names_of(SeaGroup())[static_cast<std::size_t>(options.group)]) +
                        ", with causal it needs to be causal_batch");
}

}  // namespace detail

ATTENTA_INLINE void sea(const SeaInputs& x, const SeaOutputs& out, const SeaOptions& options, Context& context) {
    const auto call =
        detail::check_sparse("sea", x, out, options, options.causal ? Positions::last : Positions::same, context);
    detail::check_sea(x, options);
    detail::FurtherOutputs(call, InputList(x)).add("kept", hnd(out.kept, x.q.heads, x.q.tokens, x.estimate.dim));
    const detail::SeaEntries entries(x, options, call.keys());
    detail::CallLists lists(call);
    *lists = entries.lists();
    call.attend(*lists);
    if (out.kept) std::copy(entries.all().begin(), entries.all().end(), out.kept);
    run_tasks(context.executor(), x.kv.heads, [&](std::int64_t h, int) {
        detail::SeaAverages averages(call, x, entries, h);
        options.causal ? averages.mix_causal() : averages.mix_all();
    });
}

ATTENTA_END
