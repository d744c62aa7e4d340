// Caches: what a policy keeps of a context, and how its rows are stored.
#include <algorithm>

#include "recipes.hpp"

namespace compare {

namespace {

std::int64_t at_least_1(std::int64_t n) { return std::max<std::int64_t>(n, 1); }
std::int64_t few(const Setup& s) { return std::clamp<std::int64_t>(s.budget / 16, 1, 8); }

constexpr std::int64_t page = 16;

/// One sequence, whose pages lie in order.
void paged(Setup& s) {
    const std::int64_t pages = (s.Tk + page - 1) / page, Hkv = s.source.k.heads;
    const auto pool = [&](const Block& rows) {
        return [&rows, Hkv](std::int64_t i) {
            const std::int64_t d = i % rows.dim, h = i / rows.dim % Hkv, t = i / rows.dim / Hkv;
            return t < rows.tokens ? rows.row(h, t)[d] : 0.f;
        };
    };
    s.size("N", s.Tq).size("S", 1);
    s.integers("q_len", {1}, [&](std::int64_t) { return s.Tq; });
    s.integers("seq_len", {1}, [&](std::int64_t) { return s.Tk; });
    s.integers("block_table", {1, pages}, [](std::int64_t i) { return i; });
    s.floats("k_pages", {pages, page, Hkv, s.source.k.dim}, pool(s.source.k));
    s.floats("v_pages", {pages, page, Hkv, s.source.v.dim}, pool(s.source.v));
    s.kept = "pages";
    s.exact = Exact::none;  // as exact as softmax, with heads and tokens the other way round
}

void four_bits(Setup& s) {
    s.has_mass = false;
    s.code_bits = 4;
}

constexpr Recipe recipes[] = {
    {"kv/scissorhands", [](Setup& s) { s.set("window", 4 * s.budget).set("recent", few(s)); }},
    {"kv/vatp", [](Setup& s) { s.set("sink", few(s)); }},
    {"kv/corm", [](Setup& s) { s.set("window", at_least_1(s.budget / 2)); }},
    {"kv/fastgen",
     [](Setup& s) {
         s.integers("special", {s.T}, [](std::int64_t t) { return std::int64_t{t == 0}; });
         s.integers("punct", {s.T}, [](std::int64_t t) { return std::int64_t{t % 16 == 15}; });
     }},
    {"kv/pyramidkv", [](Setup& s) { s.set("layers", 3).set("layer", 1); }},
    {"kv/lagkv", [](Setup& s) { s.set("lag", at_least_1(s.budget / 4)); }},
    {"kv/kv_merge", [](Setup& s) { s.has_mass = false; }},
    {"kv/token_pooling",
     [](Setup& s) {
         s.give({"q", "k", "v"}).set("pool_factor", at_least_1(s.end / s.budget));
     }},
    {"kv/q_filters", [](Setup& s) { s.size("N", std::min<std::int64_t>(s.end, 256)).give({"q_cal"}); }},
    {"kv/expected_attention", [](Setup& s) { s.size("P", s.end); }},
    {"kv/nats",
     [](Setup& s) {
         s.give({"logits"}).set("window", at_least_1(s.budget / 2));
         s.decodes = false;
     }},
    {"kv/retrieval_heads",
     [](Setup& s) { s.set("sink", 4).set("recent", at_least_1(s.budget - 4)).shape("head_score", 0); }},
    {"kv/retrieval_score",
     [](Setup& s) {
         s.integers("tokens", {s.T}, [](std::int64_t t) { return t % 61; });
         s.set("needle", {s.T / 4, s.T / 4 + 8}).exact = Exact::none;
         s.decodes = false;
     }},
    {"kv/kvzap", [](Setup& s) { s.give({"score"}).set("threshold", 0.5).set("window", at_least_1(s.budget / 2)); }},
    {"kv/kv_quant",
     [](Setup& s) {
         s.set("residual", 32).set("bits", 4).float_tokens = 32;
         four_bits(s);
     }},
    {"kv/kv_rotated",
     [](Setup& s) {
         s.set("k_bits", 4).set("v_bits", 4).set("recent", 0);
         four_bits(s);
     }},
    {"kv/paged", paged},
    {"kv/paged_ops",
     [](Setup& s) {
         s.size("n", s.T).set("page_size", page).set("ops", Json::array({{"append", 0, s.T}})).exact = Exact::none;
         s.decodes = false;
     }},
};

}  // namespace

std::span<const Recipe> kv_recipes() { return recipes; }

}  // namespace compare
