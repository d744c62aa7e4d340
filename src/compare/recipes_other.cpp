// Low-rank attention, gates of feature maps, and read-outs of models.
#include <algorithm>
#include <cmath>

#include "exact.hpp"
#include "recipes.hpp"

namespace compare {

namespace {

/// Feature maps [C, H, W] of as many places as there are tokens, as square as they can be.
void feature_map(Setup& s) {
    auto height = static_cast<std::int64_t>(std::sqrt(static_cast<double>(s.end)));
    while (s.end % height != 0) --height;
    s.size("C", s.source.q.heads * s.source.q.dim).size("H", height).size("W", s.end / height);
    s.size("n", 3).size("m", 3);
    s.decodes = false;
}

/// Weights of exact causal attention [1, Hq, T, T].
void attention_map(Setup& s, std::int64_t first_of = 1) {
    const Block weights = exact_weights(s.source, s.end);
    s.floats("attn", {first_of, s.source.q.heads, s.end, s.end},
             [&](std::int64_t i) { return weights.values[static_cast<std::size_t>(i) % weights.values.size()]; });
    s.decodes = false;
}

void map_alone(Setup& s) { attention_map(s); }
void time_alone(Setup& s) { s.decodes = false; }

constexpr Recipe recipes[] = {
    {"lowrank/clover",
     [](Setup& s) {
         const std::int64_t E = s.source.q.heads * s.source.q.dim;
         s.size("E", E).size("O", E).size("TO", E).size("TD", s.source.q.dim).size("TV", s.source.v.dim);
         s.decodes = false;
     }},
    {"lowrank/lama", [](Setup& s) { s.size("Dx", s.source.q.heads * s.source.q.dim).decodes = false; }},
    {"lowrank/leanvec",
     [](Setup& s) {
         s.size("Tn", std::min<std::int64_t>(s.end, 128)).size("Tm", std::min<std::int64_t>(s.end, 128));
         s.set("method", "eigsearch").set("beta", 0.5).set("rank", std::max<std::int64_t>(s.source.q.dim / 2, 1));
         s.set("top_k", s.budget).set("candidates", s.budget).set("causal", false);
     }},
    {"lowrank/linformer",
     [](Setup& s) {
         s.size("Hp", 1).size("TR", s.budget).size("E", s.Tk).exact = Exact::all;
         s.decodes = false;
     }},
    {"lowrank/lowrank_keys",
     [](Setup& s) {
         s.size("Tc", std::min<std::int64_t>(s.end, 256)).set("rank", std::max<std::int64_t>(s.source.q.dim / 2, 1));
         s.exact = Exact::causal;
     }},
    {"lowrank/nystrom",
     [](Setup& s) {
         std::int64_t landmarks = s.budget;
         while (s.Tk % landmarks != 0) --landmarks;
         s.set("landmarks", landmarks).exact = Exact::all;
         s.decodes = false;
     }},
    {"lowrank/soft",
     [](Setup& s) {
         s.size("Tm", s.budget).give({"landmarks"}).as("landmarks", "q");
         s.decodes = false;
     }},
    {"gating/cbam",
     [](Setup& s) {
         feature_map(s);
         s.size("R", 16).set("spatial", false);
     }},
    {"gating/channel_attention",
     [](Setup& s) {
         feature_map(s);
         s.size("G", s.source.q.heads);
     }},
    {"gating/class_semantics",
     [](Setup& s) {
         s.size("C", s.source.q.heads * s.source.q.dim).size("O", 1).size("L", s.end).size("K", 16).size("M", 16);
         s.size("N", 16).give({"w_1", "b_1", "w_2", "b_2", "w_3", "b_3", "w_4", "b_4"}).decodes = false;
     }},
    {"gating/pixel_attention", feature_map},
    {"gating/relationship_attention",
     [](Setup& s) {
         const std::int64_t D = s.source.q.heads * s.source.q.dim;
         s.size("B", s.end).size("D", D).size("E", D).size("F", D).set("heads", s.source.q.heads).decodes = false;
     }},
    {"gating/residual_attention", feature_map},
    {"gating/sentence_attention",
     [](Setup& s) {
         feature_map(s);
         s.size("E", 64).size("M", 64);
     }},
    {"variants/token_pooling_attention",
     [](Setup& s) {
         feature_map(s);
         s.size("N", 4);
     }},
    {"analysis/attention_vectors",
     [](Setup& s) {
         s.size("N", 32).size("M", 32).size("L", 3);
         s.integers("labels", {32}, [](std::int64_t i) { return i % 2; }).set("classes", 2).decodes = false;
     }},
    {"analysis/positional_heads",
     [](Setup& s) {
         const std::int64_t n = std::min<std::int64_t>(s.end, 256);
         s.integers("query_index", {n}, [&](std::int64_t i) { return s.end - 1 - i; });
         s.integers("key_index", {n}, [&](std::int64_t i) { return (i * 37) % (s.end - i); });
         s.decodes = false;
     }},
    {"analysis/retrieval_score",
     [](Setup& s) {
         const Block weights = exact_weights(s.source, s.end);
         const std::int64_t steps = std::min<std::int64_t>(s.end / 2, 16), T = s.end, H = s.source.q.heads;
         s.floats("attn", {steps, 1, H, T},
                  [&](std::int64_t i) { return weights.row(i / T % H, T - steps + i / T / H)[i % T]; });
         s.integers("generated_ids", {steps}, [](std::int64_t i) { return i; });
         s.integers("prompt_ids", {T - steps}, [](std::int64_t i) { return i % 61; });
         s.set("needle_start", 0).set("needle_end", T / 4).decodes = false;
     }},
    {"analysis/head_importance", [](Setup& s) { s.size("N", 2).size("L", 1).decodes = false; }},
    {"analysis/head_distance",
     [](Setup& s) {
         attention_map(s);
         s.set("offsets", {0, -1});
     }},
    {"analysis/head_similarity", map_alone},
    {"analysis/sink_metrics", map_alone},
    {"analysis/rollout", [](Setup& s) { attention_map(s, 2); }},
    {"analysis/flow", [](Setup& s) { attention_map(s, 2); }},
    {"analysis/diversity", [](Setup& s) { attention_map(s, 2); }},
    {"analysis/context_contribution",
     [](Setup& s) {
         attention_map(s);
         s.set("budgets", {s.budget});
     }},
    {"analysis/concentration", time_alone},
    {"analysis/separability", time_alone},
    {"analysis/calibrate_sinks", [](Setup& s) { s.set("heads", {0}).decodes = false; }},
    {"analysis/calibrate_position",
     [](Setup& s) {
         // A question behind four documents.
         s.Tq = std::min<std::int64_t>(16, std::max<std::int64_t>(s.end / 2, 1));
         s.size("K", 4);
         s.integers("doc_start", {4}, [&](std::int64_t i) { return i * (s.end / 8); });
         s.integers("doc_end", {4}, [&](std::int64_t i) { return (i + 1) * (s.end / 8); }).decodes = false;
     }},
    {"analysis/token_rescale",
     [](Setup& s) {
         s.integers("key_mask", {s.Tk}, [](std::int64_t t) { return std::int64_t{t % 2 == 0}; }).decodes = false;
     }},
    {"analysis/head_intervention", [](Setup& s) { s.set("mode", "mask").give({"head_mask"}).decodes = false; }},
    {"analysis/massive_activations", [](Setup& s) { s.size("d", 192).decodes = false; }},
    {"analysis/attention_lens", [](Setup& s) { s.size("d", 192).size("V", 256).decodes = false; }},
    {"analysis/value_projection",
     [](Setup& s) {
         const Block weights = exact_weights(s.source, s.end);
         s.floats("attn", {s.source.q.heads, s.end},
                  [&](std::int64_t i) { return weights.row(i / s.end, s.end - 1)[i % s.end]; });
         s.size("d", 192).size("V", 256).give({"norm_w", "norm_b"}).decodes = false;
     }},
    {"analysis/textspan", [](Setup& s) { s.size("N", s.end).size("M", 64).size("e", 64).decodes = false; }},
    {"analysis/cka", [](Setup& s) { s.size("Dx", s.source.q.dim).size("Dy", s.source.v.dim).decodes = false; }},
};

}  // namespace

std::span<const Recipe> other_recipes() { return recipes; }

}  // namespace compare
