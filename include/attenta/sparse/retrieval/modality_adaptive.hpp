// A-VL: image tokens that the prompt's last token likes stay, of them a core is read at every step; text behind the images is
// kept by what has been liked and by age. Zhang et al. 2024, "A-VL: Adaptive Attention for Large Vision-Language Models", as in
// the authors' released code.
//
//   prompt      causal attention; s_j: probabilities of its last token, a_g[j]: those of all rows, summed over heads
//   secondary   the ⌊secondary_rate · images⌋ best image tokens by s;  core: the ⌊core_rate · images⌋ best of them
//   step r      keys = early text ∪ (secondary if interval divides r, else core) ∪ kept text of the K/V head ∪ itself
//               a_g += the step's probabilities; if interval divides r, the core is chosen anew of secondary by them
//   text        of b = max(round(text_rate · seen), text_min) kept ones ⌊heavy_rate · b⌋ by a_g, the others by age
//
// Text before the last image is early: always kept and read. The rates of a released model are given there as complements.
// Halves round to even, and a floor forgives a lack of 1e-9. Time kept · (D + Dv) per step and head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

struct ModalityAdaptiveOptions {
    std::int64_t interval = 1;        ///< every so-manieth step reads all secondary tokens
    double secondary_rate = 1;        ///< share of the image tokens that stay
    double core_rate = 1;             ///< share of the image tokens that every step reads, at most secondary_rate
    double text_rate = 1;             ///< share of the later text that stays
    std::int64_t text_min = 20;       ///< at least so much of it
    double heavy_rate = 0.7;          ///< share of what stays by its sum of probabilities
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("interval", o.interval, "every so-manieth step reads all secondary tokens");
        visit("secondary_rate", o.secondary_rate, "share of the image tokens that stay");
        visit("core_rate", o.core_rate, "share of the image tokens that every step reads");
        visit("text_rate", o.text_rate, "share of the later text that stays");
        visit("text_min", o.text_min, "at least so much of it");
        visit("heavy_rate", o.heavy_rate, "share of what stays by its sum of probabilities");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// What stays of a sequence, and what its next token reads. A value: copy it to branch a generation. Keys have the numbers
/// of their tokens; a cache may forget those that `keeps` denies, if it still knows the others by these numbers.
class ModalityState {
public:
    /// Of nothing.
    ModalityState() = default;
    /// modality [P] of a prompt, 0 text, 1 image. Throws Error on others, on an empty prompt and on options out of range.
    ModalityState(std::span<const std::int64_t> modality, std::int64_t kv_heads,
                  const ModalityAdaptiveOptions& options);

    /// The prompt's last tokens, q [Hq, rows, D] on keys of which the first P are the prompt's: causal attention, then the first
    /// choice. All rows of the later text should be among them. lse [Hq, rows, 1], or without data. Throws Error as
    /// softmax_attention does; nothing is written then.
    void prefill(Heads<const float> q, const KvView& kv, Heads<float> o, Heads<float> lse = {},
                 Context& context = default_context());
    /// The next token, text: q [Hq, 1, D], its own key is among those of the cache.
    void step(Heads<const float> q, const KvView& kv, Heads<float> o, Heads<float> lse = {},
              Context& context = default_context());

    std::int64_t tokens() const { return tokens_; }
    const std::vector<std::int64_t>& secondary() const { return secondary_; }
    const std::vector<std::int64_t>& core() const { return core_; }
    const std::vector<std::int64_t>& text(std::int64_t kv_head) const {
        return text_[static_cast<std::size_t>(kv_head)];
    }
    /// What the next token will read of `keys` keys: a list for each K/V head.
    KeyLists next(std::int64_t keys) const;
    bool keeps(std::int64_t kv_head, std::int64_t token) const;

private:
    bool is_full_step() const { return (steps_ + 1) % options_.interval == 0; }
    std::vector<std::int64_t> best_of(const std::vector<std::int64_t>& tokens, double rate,
                                      std::span<const double> score) const;
    void evict();

    ModalityAdaptiveOptions options_;
    std::int64_t kv_heads_ = 0, tokens_ = 0, steps_ = 0;
    std::int64_t first_text_ = 0;  ///< the later text begins there
    std::vector<std::int64_t> early_, images_, secondary_, core_;
    std::vector<std::vector<std::int64_t>> text_;  ///< of each K/V head
    std::vector<std::vector<double>> received_;    ///< of each K/V head and token: sum of probabilities
};

/// Rows of q are the last R = P − (Tk − Tq) tokens of the prompt, then the decoded ones.
struct ModalityAdaptiveInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> modality;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("modality", x.modality, "[P]");
    }
};

struct ModalityAdaptiveOutputs : SparseOutputs {
    std::int64_t* used = nullptr;    ///< [Tq], keys that a head reads; or null
    ModalityState* state = nullptr;  ///< takes what is left behind the last token, to go on from; or null
};

/// A prompt and steps in one call. Throws Error on shapes and options that do not fit; nothing is written then.
void modality_adaptive(const ModalityAdaptiveInputs& x, const ModalityAdaptiveOutputs& out,
                       const ModalityAdaptiveOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/score/edit_kernels.inl>
#include <attenta/sparse/retrieval/kernels.inl>
#include <attenta/sparse/retrieval/modality_adaptive.inl>
#endif
