#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/sparse/content/sparsek.hpp>
#include <attenta/sparse/further_outputs.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// The projection onto the k-capped simplex of scores that come one by one. Scores of whole gates (m = 1) and of gates
/// between 0 and 1 stand in heaps, the smallest on top: as τ grows, they leave them in order.
class SparsekProjection {
public:
    explicit SparsekProjection(std::int64_t k) : k_(k) {}

    void add(double u, std::int64_t key) {
        if (count(whole_) + count(part_) < k_) {  // so many have all m = 1
            whole_.push({u, key});
            tau_ = whole_.top().u - 1;
            return;
        }
        if (u <= tau_) return;
        put(u >= tau_ + 1 ? whole_ : part_, {u, key});
        raise_tau();
    }

    double tau() const { return tau_; }

    struct Chosen {
        std::int64_t key;
        float gate;
    };
    /// The k largest of the gates above 0, in the order of keys.
    void choose(std::vector<Chosen>& to) {
        members_ = whole_.members();
        members_.insert(members_.end(), part_.members().begin(), part_.members().end());
        if (count(members_) > k_) {
            std::nth_element(members_.begin(), members_.begin() + (k_ - 1), members_.end(),
                             [](const Member& a, const Member& b) { return a.u != b.u ? a.u > b.u : a.key < b.key; });
            members_.resize(static_cast<std::size_t>(k_));
        }
        to.clear();
        for (const Member& m : members_) to.push_back({m.key, static_cast<float>(std::clamp(m.u - tau_, 0.0, 1.0))});
        std::sort(to.begin(), to.end(), [](const Chosen& a, const Chosen& b) { return a.key < b.key; });
    }

private:
    struct Member {
        double u;
        std::int64_t key;
        bool operator>(const Member& o) const { return u > o.u; }
    };
    struct Heap : std::priority_queue<Member, std::vector<Member>, std::greater<>> {
        const std::vector<Member>& members() const { return c; }
    };
    static std::int64_t count(const auto& x) { return static_cast<std::int64_t>(x.size()); }

    void put(Heap& heap, Member m) {
        if (&heap == &part_) part_sum_ += m.u;
        heap.push(m);
    }
    void leave_part() {
        part_sum_ -= part_.top().u;
        part_.pop();
        if (part_.empty()) part_sum_ = 0;  // without what rounding has left
    }

    /// Until Σ clip(u − τ, 0, 1) = k: between two scores that change their heap the sum is linear in τ.
    void raise_tau() {
        for (;;) {
            if (part_.empty() && count(whole_) == k_) {
                tau_ = whole_.top().u - 1;
                return;
            }
            const double end_of_part = part_.empty() ? infinity : part_.top().u,
                         end_of_whole = whole_.empty() ? infinity : whole_.top().u - 1;
            const double next = part_.empty() ? infinity
                                              : (part_sum_ + static_cast<double>(count(whole_) - k_)) /
                                                    static_cast<double>(count(part_));
            if (next < end_of_part && next <= end_of_whole) {
                tau_ = next;
                return;
            }
            if (end_of_part <= end_of_whole) {
                leave_part();
            } else {
                const Member m = whole_.top();
                whole_.pop();
                put(part_, m);
            }
        }
    }

    static constexpr double infinity = std::numeric_limits<double>::infinity();
    std::int64_t k_;
    Heap whole_, part_;
    double part_sum_ = 0, tau_ = 0;
    std::vector<Member> members_;
};

inline void check_sparsek(const SparsekInputs& x, const SparsekOptions& options) {
    require_at_least("sparsek", "k", options.k, 1);
    require_at_least("sparsek", "window", options.window, 0);
    for (std::int64_t h = 0; h < x.u.heads; ++h)
        for (std::int64_t t = 0; t < x.u.tokens; ++t)
            if (const float u = x.u.row(h, t)[0]; !is_finite(u))
                fail("sparsek", "u is " + std::to_string(u) + " at [" + std::to_string(h) + ", " + std::to_string(t) +
                                    "], needs finite numbers");
}

inline void select_sparsek(const SparsekInputs& x, KeyLists& lists, const SparsekOptions& options, float* tau) {
    check_sparsek(x, options);
    const std::int64_t keys = x.kv.length(0), first = keys - x.q.tokens;
    lists.reset({x.kv.heads, x.q.tokens, keys});
    std::vector<SparsekProjection::Chosen> chosen;
    for (std::int64_t h = 0; h < x.kv.heads; ++h) {
        SparsekProjection projection(options.k);
        for (std::int64_t i = 0; i < keys; ++i) {
            const std::int64_t candidate = i - options.window;
            if (candidate >= 0) projection.add(double{x.u.row(h, candidate)[0]}, candidate);
            if (i < first) continue;
            projection.choose(chosen);
            for (const auto& c : chosen) lists.add(c.key, 1);
            const std::int64_t window = std::min(options.window, i + 1);
            lists.add(i + 1 - window, window);
            lists.end_list();
            if (tau) *tau++ = static_cast<float>(projection.tau());
            if (options.gate == SparsekGate::none) continue;
            for (const auto& c : chosen) lists.value_gain.push_back(c.gate);
            lists.value_gain.resize(static_cast<std::size_t>(lists.size()), 1.f);
        }
    }
    if (options.gate == SparsekGate::kv) lists.key_gain = lists.value_gain;
}

}  // namespace detail

ATTENTA_INLINE void sparsek_lists(const SparsekInputs& x, KeyLists& lists, const SparsekOptions& options, float* tau) {
    detail::check_selection("sparsek", InputList(x), x.q, x.kv);
    detail::select_sparsek(x, lists, options, tau);
}

ATTENTA_INLINE void sparsek(const SparsekInputs& x, const SparsekOutputs& out, const SparsekOptions& options,
                            Context& context) {
    const auto call = detail::check_sparse("sparsek", x, out, options, Positions::last, context);
    if (out.tau) detail::FurtherOutputs(call, InputList(x)).add("tau", hnd(out.tau, x.kv.heads, x.q.tokens, 1));
    detail::CallLists lists(call);
    detail::select_sparsek(x, *lists, options, out.tau);
    call.attend(*lists, Causal{});
}

ATTENTA_END
