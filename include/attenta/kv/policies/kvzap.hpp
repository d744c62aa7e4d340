// KVzap drops what a small net has found to be of little use, however much that is. NVIDIA 2026, "KVzap"; the threshold behind a
// sliding window is that of Łańcucki et al. 2025, "Inference-Time Hyper-Scaling with KV Cache Compression".
//
//   score [T, Hkv], given, or hidden·w1 + b1, or gelu(hidden·w1 + b1)·w2 + b2,   gelu(x) = x·Φ(x)
//   a token that leaves the last `window` tokens goes where its score is below the threshold
//
// There is no budget. Time E·F per token for the net, O(n) per step; one float per token.
#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/kv/eviction/given.hpp>
#include <attenta/kv/eviction/threshold.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

enum class KvzapDecode : std::uint8_t { evict, grow };
constexpr auto names_of(KvzapDecode) { return std::to_array<std::string_view>({"evict", "grow"}); }

struct KvzapOptions {
    std::optional<float> threshold = {};  ///< about -4 for the log-scores of the published nets; there is no default
    std::int64_t window = 128;            ///< newest tokens, which are not judged
    KvzapDecode decode = KvzapDecode::evict;  ///< grow: only the prompt is judged

    static void fields(auto&& visit, auto& o) {
        visit("threshold", o.threshold, "least score of a token that stays");
        visit("window", o.window, "newest tokens, which are not judged");
        visit("decode", o.decode, "evict (after each token) or grow (only the prompt is judged)");
    }
};

/// The net of a layer: without w2 and b2 of one layer, F = Hkv.
struct KvzapInputs {
    Matrices<const float> hidden, w1, w2;
    std::span<const float> b1, b2;

    static void list(auto&& visit, auto& x) {
        visit("hidden", x.hidden, "[T, E]");
        visit("w1", x.w1, "[E, F]");
        visit("b1", x.b1, "[F]");
        visit("w2", x.w2, "[F, Hkv]", Input::optional);
        visit("b2", x.b2, "[Hkv]", Input::optional);
    }
};

/// Scores [T, Hkv] of tokens from their hidden states. Throws Error on shapes that do not fit.
std::vector<float> kvzap_scores(const KvzapInputs& x);

/// score [Hkv, T, 1], nhd(score, T, Hkv, 1) in memory [T, Hkv], of the T tokens that may come: borrowed, all finite.
class Kvzap final : public EvictionPolicy {
public:
    using Options = KvzapOptions;
    Kvzap(Heads<const float> score, const KvzapOptions& options) : score_("kvzap", "score", score), options_(options) {}

    EvictionNeeds needs(const EvictionShape& shape) override;
    void expect(std::int64_t seen) override { score_.expect(seen); }
    void arrive(const HeldTokens& held, std::int64_t slot, const float*, const float*) override {
        held.column(0)[slot] = score_.of(held, slot);
    }
    void judge(const EvictionMoment& now, std::span<const HeldTokens> heads,
               std::span<EvictionChoice> choices) override {
        if (!now.prompt && options_.decode == KvzapDecode::grow) return;
        for (const HeldTokens& held : heads)
            choices[static_cast<std::size_t>(held.head)] =
                eviction::keep_from(*options_.threshold, held, held.column(0), options_.window);
    }

private:
    eviction::Given<float> score_;
    KvzapOptions options_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/common/inputs.inl>
#include <attenta/kv/policies/kvzap.inl>
#endif
