#pragma once

#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/score/distance_table.hpp>
#include <attenta/variants/scores/mega_attention.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

ATTENTA_BEGIN

namespace detail {

ATTENTA_INLINE void check_mega_positions(const char* f, const MegaBias& b, std::int64_t features, std::int64_t tokens,
                                         std::optional<std::int64_t> chunk) {
    if (chunk) checks::require_at_least(f, "chunk", *chunk, 1);
    if (b.bias_q.empty() != b.bias_k.empty())
        fail(f, std::string(b.bias_q.empty() ? "bias_q" : "bias_k") + " is null, the other one is given");
    if (!b.bias_q.empty() && !b.rel_bias.empty()) fail(f, "rel_bias and bias_q are given, needs one of them");
    if (!b.bias_q.empty() && features % 2 != 0)
        fail(f, "bias_q has " + checks::text(features) + " features, needs an even number");
    if (b.rel_bias.empty()) return;
    const auto n = static_cast<std::int64_t>(b.rel_bias.size());
    if (n % 2 == 0) fail(f, "rel_bias has " + checks::text(n) + " elements, needs an odd number, 2 n - 1");
    const std::int64_t length = chunk.value_or(tokens);
    if (length > (n + 1) / 2)
        fail(f, "rel_bias has distances of " + checks::text((n + 1) / 2) + " tokens, needs those of " +
                    checks::text(length));
}

/// Queries see the keys of their own chunk of positions.
struct OwnChunk {
    std::int64_t chunk;

    Spans spans(const QueryRow& r) const { return {hull(r, r), {}}; }
    Interval hull(const QueryRow& a, const QueryRow& b) const {
        return {begin_of(a.position), saturating::add(begin_of(b.position), chunk)};
    }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        const Interval k = keys.range(), any = hull(a, b);
        if (intersect(k, any).empty()) return Cover::none;
        const bool one = begin_of(a.position) == begin_of(b.position);
        return one && k.begin >= any.begin && k.end <= any.end ? Cover::all : Cover::some;
    }

private:
    /// Rounds down, before position 0 too.
    std::int64_t begin_of(std::int64_t position) const {
        const std::int64_t rest = position % chunk;
        return saturating::add(position, -(rest < 0 ? rest + chunk : rest));
    }
};

struct MegaMemory {
    DistanceTable table;
    std::vector<RowStatistics> counts;
    std::vector<float> gain;
    std::vector<double> even, odd;
};

/// rotate(bias_q, i) · rotate(bias_k, i + d) = Σ_m even_m cos(d θ_m) + odd_m sin(d θ_m)
class RotaryBias {
public:
    RotaryBias(const MegaBias& b, MegaMemory& memory) : even_(memory.even), odd_(memory.odd) {
        const std::size_t half = b.bias_q.size() / 2;
        even_.resize(half);
        odd_.resize(half);
        for (std::size_t m = 0; m < half; ++m) {
            const double aq = double{b.bias_q[m]}, bq = double{b.bias_q[m + half]}, ak = double{b.bias_k[m]},
                         bk = double{b.bias_k[m + half]};
            even_[m] = aq * ak + bq * bk;
            odd_[m] = bq * ak - aq * bk;
        }
    }
    float operator()(std::int64_t distance) const {
        double sum = 0;
        for (std::size_t m = 0; m < even_.size(); ++m) {
            const double angle = static_cast<double>(distance) *
                                 std::pow(10000.0, -static_cast<double>(m) / static_cast<double>(even_.size()));
            sum += even_[m] * std::cos(angle) + odd_[m] * std::sin(angle);
        }
        return static_cast<float>(sum);
    }

private:
    std::vector<double>&even_, &odd_;
};

/// Distances that a call may meet, in tokens to either side.
inline std::int64_t longest_distance(const char* f, const SoftmaxCall& call, std::optional<std::int64_t> chunk) {
    const std::int64_t first = call.first_position(), last = first + call.request.q.tokens - 1,
                       newest = call.end_of_positions() - 1;
    std::int64_t longest = std::max(std::abs(newest - first), std::abs(last));
    if (chunk) longest = std::min(longest, *chunk - 1);
    constexpr std::int64_t most = std::int64_t{1} << 31;
    if (longest > most)
        fail(f, "queries stand up to " + checks::text(longest) + " tokens from keys, needs at most 2^31");
    return longest;
}

inline void add_mega_bias(const char* f, const MegaBias& b, SoftmaxCall& call, std::optional<std::int64_t> chunk,
                          MegaMemory& memory) {
    if (b.rel_bias.empty() && b.bias_q.empty()) return;
    const std::int64_t longest = longest_distance(f, call, chunk);
    if (!b.rel_bias.empty()) {
        const std::int64_t n = (static_cast<std::int64_t>(b.rel_bias.size()) + 1) / 2;
        if (longest >= n)
            fail(f, "rel_bias has distances of " + checks::text(n) + " tokens, queries stand up to " +
                        checks::text(longest) + " from keys");
        memory.table.set(1, -longest, longest,
                         [&](std::int64_t, std::int64_t d) { return b.rel_bias[static_cast<std::size_t>(d + n - 1)]; });
    } else {
        const RotaryBias rotary(b, memory);
        memory.table.set(1, -longest, longest, [&](std::int64_t, std::int64_t d) { return rotary(d); });
    }
    edits::DistanceBias bias = memory.table.edit();
    bias.head_stride = 0;
    call.request.edits.push_back(edit(bias));
}

}  // namespace detail

ATTENTA_INLINE void mega_attention(const MegaAttentionInputs& x, const WeightedOutputs& out,
                                   const MegaAttentionOptions& options, Context& context) {
    const char* const f = "mega_attention";
    if (static_cast<int>(options.activation) > static_cast<int>(MegaActivation::relu2))
        fail(f, "activation is none of MegaActivation");
    const bool softmax = options.activation == MegaActivation::softmax;
    const float scale = softmax ? detail::scale_or_default({}, std::max<std::int64_t>(x.q.dim, 1)) : 1.f;
    detail::SoftmaxCall call = detail::check_variant(f, x, SoftmaxOutputs{out.o}, scale, options.visibility, context);
    detail::check_mega_positions(f, x.bias, x.q.dim, call.keys(), options.chunk);
    call.request.local_weights = !softmax;
    if (options.chunk) call.request.masks.push_back(detail::OwnChunk{*options.chunk});

    const std::int64_t rows = x.q.heads * x.q.tokens;
    detail::CallMemory<detail::MegaMemory> own(x.q.tokens, context);
    if (!softmax) {
        detail::count_visible(call, detail::has_intervals(options.visibility), own->counts);
        own->gain.resize(static_cast<std::size_t>(rows));
        for (std::size_t i = 0; i < own->gain.size(); ++i) own->gain[i] = 1 / std::max(own->counts[i].sum, 1.f);
        call.request.edits.push_back(edit(edits::QueryGain{own->gain.data(), x.q.tokens}));
    }
    detail::add_mega_bias(f, x.bias, call, options.chunk, *own);
    if (options.activation == MegaActivation::laplace) call.request.edits.push_back(edit(edits::LaplaceWeights{}));
    if (options.activation == MegaActivation::relu2) call.request.edits.push_back(edit(edits::ReluWeights{true}));
    call.run();
}

ATTENTA_END
