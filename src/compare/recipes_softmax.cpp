// Exact softmax attention, latent attention and other normalisers.
#include "recipes.hpp"

namespace compare {

namespace {

/// Bits: which numbers of the last tokens are positive.
void signs(Setup& s, const char* input, const Block& from, std::int64_t tokens) {
    const std::int64_t first = s.end - tokens;
    s.floats(input, {from.heads, tokens, from.dim}, [&, first, tokens](std::int64_t i) {
        return from.row(i / from.dim / tokens, first + i / from.dim % tokens)[i % from.dim] > 0 ? 1.f : 0.f;
    });
}

constexpr Recipe recipes[] = {
    {"softmax/softmax",
     [](Setup& s) {
         s.exact = Exact::causal;
         s.has_mass = true;
     }},
    {"softmax/merge_state", [](Setup& s) { s.size("P", 4).keeps = false; }},
    {"softmax/rope",
     [](Setup& s) {
         s.Tk = s.Tq;
         s.keeps = false;
     }},
    {"softmax/t5_bias", [](Setup& s) { s.size("B", 32).set("bidirectional", false); }},
    {"softmax/tree_mask",
     [](Setup& s) { s.integers("parent", {s.Tq}, [](std::int64_t i) { return i - 1; }).dense = true; }},
    {"softmax/rope_nope", [](Setup& s) { s.dense = true; }},
    {"softmax/attention_buckets",
     [](Setup& s) {
         s.size("B", 3).size("V", 256).set("bases", {10000, 18000, 25000}).dense = false;
     }},
    {"softmax/modulated_positional",
     [](Setup& s) {
         s.size("TM", 24).give({"ref_wh"}).floats("anchors", {s.Tq, 4}, [](std::int64_t i) {
             return 0.25f + 0.125f * static_cast<float>(i * 7 % 5);
         });
     }},
    {"softmax/relative_shaw", [](Setup& s) { s.size("Hr", 1).size("TC", 257); }},
    {"softmax/relative_interaction", [](Setup& s) { s.size("Hr", 1).size("TM", 257).set("method", 4); }},
    {"softmax/relative_xl", [](Setup& s) { s.size("Hr", s.source.q.heads).size("M", 128).give({"w_r"}); }},
    {"softmax/rcmha",
     [](Setup& s) {
         s.size("Cq", 3).size("Ck", 3).size("Cv", 3).size("P2", 2 * s.Tk);
         s.decodes = false;
     }},
    {"softmax/disentangled",
     [](Setup& s) {
         for (const char* heads : {"Hr", "Hp"}) s.size(heads, s.source.q.heads);
         s.size("TP", 512).set("buckets", 256).give({"pos_k", "pos_q"});
     }},
    {"softmax/persistent_memory", [](Setup& s) { s.size("TN", 16); }},
    {"softmax/cosine", [](Setup& s) { s.set("method", "l2").set("scale", 10); }},
    {"softmax/scan", [](Setup& s) { s.dense = false; }},
    {"softmax/skim",
     [](Setup& s) {
         for (const char* letter : {"M", "TM"}) s.size(letter, 64);
         s.size("P", 64).set("centres_only", true).give({"h_emb", "w_emb"});
         const Block& v = s.source.v;
         s.floats("v", {1, v.heads, s.T, v.dim},
                  [&](std::int64_t i) { return v.row(i / v.dim / s.T, i / v.dim % s.T)[i % v.dim]; });
         s.integers("bbox", {s.T, 4}, [](std::int64_t i) { return i / 4 % 32 + i % 4 / 2 * 16; });
     }},
    {"softmax/multi_token",
     [](Setup& s) {
         s.size("A", 6).size("B", 11).give({"kernel_pre", "head_pre"});
         s.decodes = false;
     }},
    {"softmax/relational",
     [](Setup& s) {
         s.size("R", 4).size("Ds", s.source.v.dim).size("Hs", s.source.k.heads).give({"symbols"});
         s.dense = true;
     }},
    {"softmax/path",
     [](Setup& s) {
         if (!s.decoding()) return;
         s.size("P", s.end - 1).give({"k_cache", "v_cache"}).before("k_cache", s.end - 1).before("v_cache", s.end - 1);
         s.kept = "P";
     }},
    {"latent/mla",
     [](Setup& s) {
         s.size("Dr", s.source.q.dim / 2).size("R", 2 * s.source.q.dim);
         s.give({"q_nope", "q_pe", "c_kv", "k_pe"});
     }},
    {"latent/grouped_latent", [](Setup& s) { s.size("Dr", s.source.q.dim / 2).size("R", s.source.q.dim); }},
    {"latent/grouped_tied", [](Setup& s) { s.size("Dr", s.source.q.dim / 2); }},
    {"latent/mtla",
     [](Setup& s) {
         s.size("N", s.end).size("Dr", s.source.q.dim / 2).size("R", 2 * s.source.q.dim).size("Rh", 16);
         s.decodes = false;
         s.dense = false;
     }},
    {"variants/damped_ema", [](Setup& s) { s.size("D", s.source.v.dim).size("M", s.source.v.dim).size("N", 2); }},
    {"variants/mega_attention",
     [](Setup& s) {
         for (const char* heads : {"Hq", "Hkv"}) s.size(heads, 1);
         s.size("S", s.source.q.dim).size("E", s.source.v.dim);
     }},
    {"variants/mega",
     [](Setup& s) {
         const std::int64_t D = s.source.v.dim;
         s.size("D", D).size("M", D).size("N", 2).size("S", D).size("E", D).size("P", 4 * D);
     }},
    {"variants/hopfield", [](Setup& s) { s.dense = true; }},
    {"variants/intra_temporal",
     [](Setup& s) {
         // Sums over earlier queries, one for each key.
         if (!s.decoding()) return;
         s.floats("state", {s.source.q.heads, s.Tk}, [](std::int64_t) { return 1.f; }).kept = "N";
     }},
    {"variants/additive", [](Setup& s) { s.size("A", 16); }},
    {"variants/neural", [](Setup& s) { s.size("N", 8).size("2N", 16).size("M", 4); }},
    {"variants/optimised", [](Setup& s) { s.size("N", s.source.q.heads * s.source.v.dim); }},
    {"variants/efficient_projection",
     [](Setup& s) { s.size("M", s.source.q.heads * s.source.q.dim).size("N", s.source.q.heads * s.source.v.dim); }},
    {"variants/super_attention",
     [](Setup& s) {
         s.size("M", s.source.q.heads * s.source.q.dim).size("N", s.source.q.heads * s.source.v.dim).size("S", s.Tk);
         s.give({"w_a"}).shape("w_a", 0);
     }},
    {"variants/luong_global", [](Setup& s) { s.dense = true; }},
    {"variants/sentinel", [](Setup& s) { s.size("A", 16).size("X", s.source.v.dim).give({"s"}); }},
    {"variants/impatient", [](Setup& s) { s.size("A", 16); }},
    {"variants/variational",
     [](Setup& s) {
         s.size("Dh", 16).size("Y", 16).size("E", s.source.q.dim + s.source.v.dim);
         s.set("mode", "argmax").set("score", "dot").set("top_k", 4);
     }},
    {"variants/monotonic_location", [](Setup& s) { s.size("R", 1); }},
    {"variants/label", [](Setup& s) { s.size("L", 16).size("Dm", s.source.q.heads * s.source.q.dim).shape("q", 0); }},
    {"variants/conditioned",
     [](Setup& s) {
         s.size("Dx", 128).size("F", 16).size("A", 128).give({"w_g", "b_g"});
     }},
    {"variants/triadic", [](Setup& s) { s.size("TL", 4); }},
    {"variants/triadic_select", [](Setup& s) { s.set("top_k", s.budget); }},
    {"variants/head_offset", [](Setup& s) { s.size("L", s.T).size("N", s.source.q.heads); }},
    {"variants/spectral_dictionary", [](Setup& s) { s.size("K", 16); }},
    {"variants/block_recurrent",
     [](Setup& s) {
         const std::int64_t X = s.source.q.heads * s.source.q.dim;
         s.size("S", 16).size("E", X).size("X", X).size("R", 2 * X).set("window", s.budget);
         s.give({"w_o", "b_g", "scale_self", "scale_cross", "state_scale_self", "state_scale_cross"});
     }},
    {"variants/duplex",
     [](Setup& s) { s.size("M", 2).integers("modality", {s.Tk}, [](std::int64_t t) { return t / 64 % 2; }); }},
    {"variants/resonator", [](Setup& s) { s.size("F", 3).size("M", s.T).set("steps", 3); }},
    {"variants/sdm",
     [](Setup& s) {
         s.set("radius", s.source.q.dim * 3 / 8);
         signs(s, "q", s.source.q, s.Tq);
         signs(s, "k", s.source.k, s.Tk);
     }},
};

}  // namespace

std::span<const Recipe> softmax_recipes() { return recipes; }

}  // namespace compare
