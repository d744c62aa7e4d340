#pragma once

#include <attenta/engine/score/observers.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/retrieval/exact_weights.hpp>
#include <attenta/sparse/retrieval/kernels.hpp>
#include <attenta/sparse/retrieval/modality_adaptive.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

ATTENTA_BEGIN

namespace detail {

/// A share of n, whole.
inline std::int64_t floor_of(double x) { return static_cast<std::int64_t>(std::floor(x + 1e-9)); }

inline void check_modality(const char* f, std::span<const std::int64_t> modality,
                           const ModalityAdaptiveOptions& options) {
    require_at_least(f, "interval", options.interval, 1);
    require_at_least(f, "text_min", options.text_min, 1);
    const auto check = [f](const char* name, double rate, bool from_zero, double most) {
        if (!((from_zero ? rate >= 0 : rate > 0) && rate <= most))
            fail(f, std::string(name) + " is " + std::to_string(rate) + ", needs " + (from_zero ? "0" : "more than 0") +
                        " to " + std::to_string(most));
    };
    check("secondary_rate", options.secondary_rate, false, 1);
    check("core_rate", options.core_rate, false, options.secondary_rate);
    check("text_rate", options.text_rate, false, 1);
    check("heavy_rate", options.heavy_rate, true, 1);
    if (modality.empty()) fail(f, "modality has no tokens, needs at least one");
    for (std::size_t j = 0; j < modality.size(); ++j)
        if (modality[j] != 0 && modality[j] != 1)
            fail(f, "modality is " + std::to_string(modality[j]) + " at " + std::to_string(j) +
                        ", needs 0 for text or 1 for an image");
}

}  // namespace detail

ATTENTA_INLINE ModalityState::ModalityState(std::span<const std::int64_t> modality, std::int64_t kv_heads,
                                            const ModalityAdaptiveOptions& options)
    : options_(options), kv_heads_(kv_heads), tokens_(std::ssize(modality)) {
    detail::check_modality("ModalityState", modality, options);
    detail::require_at_least("ModalityState", "kv_heads", kv_heads, 1);
    for (std::int64_t j = 0; j < tokens_; ++j)
        if (modality[static_cast<std::size_t>(j)] == 1) images_.push_back(j);
    first_text_ = images_.empty() ? 0 : images_.back() + 1;
    for (std::int64_t j = 0; j < first_text_; ++j)
        if (modality[static_cast<std::size_t>(j)] == 0) early_.push_back(j);
    std::vector<std::int64_t> later(static_cast<std::size_t>(tokens_ - first_text_));
    for (std::size_t i = 0; i < later.size(); ++i) later[i] = first_text_ + static_cast<std::int64_t>(i);
    text_.assign(static_cast<std::size_t>(kv_heads), later);
    received_.assign(static_cast<std::size_t>(kv_heads), std::vector<double>(static_cast<std::size_t>(tokens_)));
    secondary_ = core_ = images_;
}

/// Those of a share of the images that score best.
ATTENTA_INLINE std::vector<std::int64_t> ModalityState::best_of(const std::vector<std::int64_t>& tokens, double rate,
                                                                std::span<const double> score) const {
    std::vector<double> own;
    for (const std::int64_t j : tokens) own.push_back(score[static_cast<std::size_t>(j)]);
    std::vector<std::int64_t> best =
        detail::top_indices(own, detail::floor_of(rate * static_cast<double>(images_.size())));
    for (std::int64_t& j : best) j = tokens[static_cast<std::size_t>(j)];
    return best;
}

/// The text that has to go goes: what is neither new nor was liked.
ATTENTA_INLINE void ModalityState::evict() {
    const auto share =
        static_cast<std::int64_t>(std::nearbyint(options_.text_rate * static_cast<double>(tokens_ - first_text_)));
    const std::int64_t budget = std::max(share, options_.text_min),
                       heavy = detail::floor_of(options_.heavy_rate * static_cast<double>(budget));
    for (std::size_t g = 0; g < text_.size(); ++g) {
        std::vector<std::int64_t>& held = text_[g];
        if (std::ssize(held) <= budget) continue;
        const std::int64_t old = std::ssize(held) - (budget - heavy);
        std::vector<double> score;
        for (std::int64_t i = 0; i < old; ++i)
            score.push_back(received_[g][static_cast<std::size_t>(held[static_cast<std::size_t>(i)])]);
        std::vector<std::int64_t> left;
        for (const std::int64_t i : detail::top_indices(score, heavy))
            left.push_back(held[static_cast<std::size_t>(i)]);
        left.insert(left.end(), held.begin() + old, held.end());
        held = std::move(left);
    }
}

ATTENTA_INLINE KeyLists ModalityState::next(std::int64_t keys) const {
    const std::vector<std::int64_t>& images = is_full_step() ? secondary_ : core_;
    std::vector<std::int64_t> shared(early_.size() + images.size());
    std::merge(early_.begin(), early_.end(), images.begin(), images.end(), shared.begin());
    KeyLists lists({.heads = kv_heads_, .queries = 1, .keys = keys});
    for (const std::vector<std::int64_t>& text : text_) {
        for (const std::int64_t j : shared) lists.add(j, 1);
        for (const std::int64_t j : text) lists.add(j, 1);
        lists.add(tokens_, 1);
        lists.end_list();
    }
    return lists;
}

ATTENTA_INLINE bool ModalityState::keeps(std::int64_t kv_head, std::int64_t token) const {
    const auto has = [token](const std::vector<std::int64_t>& list) {
        return std::binary_search(list.begin(), list.end(), token);
    };
    return has(early_) || has(secondary_) || has(text(kv_head));
}

ATTENTA_INLINE void ModalityState::prefill(Heads<const float> q, const KvView& kv, Heads<float> o, Heads<float> lse,
                                           Context& context) {
    const char* const f = "ModalityState::prefill";
    if (kv.heads != kv_heads_ || kv.sequences != 1 || kv.positions)
        fail(f, "kv has " + std::to_string(kv.heads) + " heads of " + std::to_string(kv.sequences) +
                    " sequences, needs " + std::to_string(kv_heads_) + " heads of one without positions of its own");
    if (steps_ > 0 || q.tokens < 1 || q.tokens > tokens_ || kv.length(0) < tokens_)
        fail(f, "q has " + std::to_string(q.tokens) + " tokens and k " + std::to_string(kv.length(0)) +
                    ", needs the last ones of " + std::to_string(tokens_) + " that nothing has followed yet");
    attention::Request r;
    r.function = f;
    r.q = q;
    r.kv = kv;
    r.scale = options_.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
    r.q_offset = tokens_ - q.tokens;
    r.masks = {Causal{}};
    attention::check(r);
    attention::check_tensors(f, q, kv, &o, nullptr);
    // Rows before the later text see none of it, so sums over all rows are those of its rows.
    const std::int64_t keys = kv.length(0), group = q.heads / kv.heads;
    const detail::ExactWeights weights(r, context);
    std::vector<float> sums(static_cast<std::size_t>(q.heads * keys)), last(sums.size());
    weights.run({edit(edits::ColumnSums{sums.data(), keys}), edit(edits::LastRows{last.data(), keys, q.tokens, 1})}, o);
    std::vector<double> score(static_cast<std::size_t>(tokens_));
    for (std::int64_t h = 0; h < q.heads; ++h) {
        std::vector<double>& received = received_[static_cast<std::size_t>(h / group)];
        for (std::size_t j = 0; j < score.size(); ++j) {
            const std::size_t at = static_cast<std::size_t>(h * keys) + j;
            received[j] += double{sums[at]};
            score[j] += double{last[at]};
        }
        for (std::int64_t t = 0; lse.data && t < q.tokens; ++t) *lse.row(h, t) = weights.of(h, t).lse();
    }
    secondary_ = best_of(images_, options_.secondary_rate, score);
    core_ = best_of(images_, options_.core_rate, score);
    evict();
}

ATTENTA_INLINE void ModalityState::step(Heads<const float> q, const KvView& kv, Heads<float> o, Heads<float> lse,
                                        Context& context) {
    const char* const f = "ModalityState::step";
    if (kv.heads != kv_heads_ || kv.sequences != 1 || kv.positions)
        fail(f, "kv has " + std::to_string(kv.heads) + " heads of " + std::to_string(kv.sequences) +
                    " sequences, needs " + std::to_string(kv_heads_) + " heads of one without positions of its own");
    if (q.tokens != 1 || kv.length(0) <= tokens_)
        fail(f, "q has " + std::to_string(q.tokens) + " tokens and k " + std::to_string(kv.length(0)) +
                    ", needs one and more than the " + std::to_string(tokens_) + " before it");
    const std::int64_t keys = kv.length(0), group = q.heads / kv.heads;
    const KeyLists lists = next(keys);
    std::vector<float> scores(static_cast<std::size_t>(q.heads * keys)), probabilities(static_cast<std::size_t>(keys));
    std::vector<RowStatistics> rows(static_cast<std::size_t>(q.heads));
    attention::Request r;
    r.function = f;
    r.q = q;
    r.kv = kv;
    r.scale = options_.scale.value_or(1.f / std::sqrt(static_cast<float>(q.dim)));
    r.lists = {&lists, 1};
    r.edits = {edit(edits::ScoresByKey{scores.data(), keys})};
    const attention::Plan& plan = attention::plan(r, context);
    attention::check_tensors(f, q, kv, &o, nullptr);
    plan.run(q, kv, o, nullptr, {.found = rows.data()});

    std::vector<double> score(static_cast<std::size_t>(keys));
    const AddWeights add = add_weights();
    for (std::int64_t g = 0; g < kv.heads; ++g) {
        std::vector<double>& received = received_[static_cast<std::size_t>(g)];
        received.resize(static_cast<std::size_t>(tokens_) + 1);
        for (const KeyRun& run : lists.runs(g)) {
            std::fill_n(probabilities.begin(), run.count, 0.f);
            for (std::int64_t h = g * group; h < (g + 1) * group; ++h)
                add(scores.data() + h * keys + run.start, run.count, rows[static_cast<std::size_t>(h)],
                    probabilities.data());
            for (std::int64_t i = 0; i < run.count; ++i) {
                const auto j = static_cast<std::size_t>(run.start + i);
                received[j] += double{probabilities[static_cast<std::size_t>(i)]};
                score[j] += double{probabilities[static_cast<std::size_t>(i)]};
            }
        }
    }
    for (std::int64_t h = 0; lse.data && h < q.heads; ++h) *lse.row(h, 0) = rows[static_cast<std::size_t>(h)].lse();
    if (is_full_step()) core_ = best_of(secondary_, options_.core_rate, score);
    for (std::vector<std::int64_t>& text : text_) text.push_back(tokens_);
    ++tokens_;
    ++steps_;
    evict();
}

ATTENTA_INLINE void modality_adaptive(const ModalityAdaptiveInputs& x, const ModalityAdaptiveOutputs& out,
                                      const ModalityAdaptiveOptions& options, Context& context) {
    const auto call = detail::check_sparse("modality_adaptive", x, out, options, Positions::last, context);
    detail::check_modality("modality_adaptive", x.modality, options);
    const std::int64_t keys = call.keys(), queries = x.q.tokens, prompt = std::ssize(x.modality);
    const std::int64_t first = keys - queries, rows = prompt - first;
    if (rows < 1 || prompt > keys)
        fail("modality_adaptive", "modality has " + std::to_string(prompt) + " tokens, needs those of a prompt of " +
                                      std::to_string(first + 1) + " to " + std::to_string(keys));
    if (x.kv.positions) fail("modality_adaptive", "kv has positions of its own, needs keys in their order");
    if (out.used) detail::FurtherOutputs(call, InputList(x)).add("used", hnd(out.used, 1, queries, 1));
    ModalityState state(x.modality, x.kv.heads, options);
    std::vector<KeyLists> steps;
    const auto part = [&](std::int64_t begin, std::int64_t count, auto&& f) {
        const Heads<float> lse{out.lse ? out.lse + begin : nullptr, x.q.heads, count, 1, queries, 1};
        f(x.q.slice(begin, count), out.o.slice(begin, count), lse);
    };
    part(0, rows, [&](auto q, auto o, auto lse) { state.prefill(q, x.kv, o, lse, context); });
    for (std::int64_t t = rows; t < queries; ++t) {
        steps.push_back(state.next(keys));
        part(t, 1, [&](auto q, auto o, auto lse) { state.step(q, x.kv, o, lse, context); });
    }
    if (out.used)
        for (std::int64_t t = 0; t < queries; ++t)
            out.used[t] = t < rows ? first + t + 1 : steps[static_cast<std::size_t>(t - rows)].keys_of(0);
    if (out.lists) {
        out.lists->reset({.heads = x.kv.heads, .queries = queries, .keys = keys});
        for (std::int64_t g = 0; g < x.kv.heads; ++g)
            for (std::int64_t t = 0; t < queries; ++t) {
                if (t < rows) out.lists->add(0, first + t + 1);
                if (t >= rows)
                    for (const KeyRun& run : steps[static_cast<std::size_t>(t - rows)].runs(g))
                        out.lists->add(run.start, run.count);
                out.lists->end_list();
            }
    }
    if (out.state) *out.state = std::move(state);
}

ATTENTA_END
