// Linear attention and recurrences. Those whose feature map is made to approximate softmax are held against it.
#include <bit>

#include "recipes.hpp"

namespace compare {

namespace {

/// Rules that write with their keys need keys of length 1.
void normalized(Setup& s) { s.set("qk_l2norm", true); }
void approximates(Setup& s) { s.exact = Exact::causal; }

constexpr Recipe recipes[] = {
    {"linear/performer",
     [](Setup& s) {
         approximates(s);
         s.size("M", 2 * s.source.q.dim);
     }},
    {"linear/based", approximates},
    {"linear/fastmax", approximates},
    {"linear/log_normal", approximates},
    {"linear/random_feature_gated",
     [](Setup& s) {
         approximates(s);
         s.size("TM", 2 * s.source.q.dim);
     }},
    {"linear/mamba2", [](Setup& s) { s.size("G", 1); }},
    {"linear/mamba", [](Setup& s) { s.size("G", 1).size("N", 16); }},
    {"linear/delta_rule", normalized},
    {"linear/gated_delta_rule", normalized},
    {"linear/kda", normalized},
    {"linear/gdn2", normalized},
    {"linear/comba", normalized},
    {"linear/gated_oja_rule", normalized},
    {"linear/titans", normalized},
    {"linear/titans_mag",
     [](Setup& s) {
         s.size("TN", 16).size("Dm", s.source.q.dim).set("window", s.budget).give({"norm_attn", "norm_mem"});
         s.decodes = false;
     }},
    {"linear/additive_linear", [](Setup& s) { s.size("W", s.source.q.heads * s.source.q.dim); }},
    {"linear/latte", [](Setup& s) { s.size("L", s.source.q.dim); }},
    {"linear/vq",
     [](Setup& s) {
         approximates(s);
         s.size("TS", 64).set("block_size", 64).set("mem_len", 64).give({"k"});
         s.decodes = false;
     }},
    {"linear/sea",
     [](Setup& s) {
         s.size("W", 64);
         s.decodes = false;
     }},
    {"linear/state_snapshots",
     [](Setup& s) {
         s.give({"q", "k", "v", "g", "beta"}).set("every", 64).set("qk_l2norm", true);
         s.decodes = false;
     }},
    {"linear/log_linear",
     [](Setup& s) {
         s.size("L", static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(s.end))) + 1);
         if (s.decoding()) s.set("position", s.end - 1);
     }},
    {"linear/bi_wkv",
     [](Setup& s) {
         s.size("R", 1);
         s.decodes = false;
     }},
    {"linear/causal_conv", [](Setup& s) { s.size("W", 4); }},
    {"linear/hgrn", [](Setup& s) { s.size("D", s.source.v.dim); }},
};

}  // namespace

std::span<const Recipe> linear_recipes() { return recipes; }

}  // namespace compare
