// Selections of keys: as many as the budget says, in the shapes that each mechanism chooses.
#include <algorithm>
#include <vector>

#include "recipes.hpp"

namespace compare {

namespace {

std::int64_t at_least_1(std::int64_t n) { return std::max<std::int64_t>(n, 1); }

/// An indexer of 4 heads.
void indexer(Setup& s) {
    s.size("Gi", 4).size("Hi", s.source.k.heads);
    s.floats("w_idx", {4, s.Tq}, [](std::int64_t) { return 0.25f; });
}

/// The last `budget` keys of each query.
void csr(Setup& s) {
    std::vector<std::int64_t> pointers{0}, keys;
    for (std::int64_t i = s.Tk - s.Tq; i < s.Tk; ++i) {
        for (std::int64_t j = std::max<std::int64_t>(0, i + 1 - s.budget); j <= i; ++j) keys.push_back(j);
        pointers.push_back(std::ssize(keys));
    }
    const auto from = [](const std::vector<std::int64_t>& list) {
        return [&list](std::int64_t i) { return list[static_cast<std::size_t>(i)]; };
    };
    s.integers("indptr", {std::ssize(pointers)}, from(pointers)).integers("indices", {std::ssize(keys)}, from(keys));
}

/// The first block and the last ones, up to the budget.
void block_sparse(Setup& s) {
    const std::int64_t block = std::clamp<std::int64_t>(s.budget / 4, 1, 64);
    std::vector<std::int64_t> pointers{0}, blocks;
    for (std::int64_t first = 0; first < s.Tq; first += block) {
        const std::int64_t own = (s.Tk - s.Tq + std::min(first + block, s.Tq) - 1) / block;
        for (std::int64_t b = 0; b <= own; ++b)
            if (b == 0 || b > own - s.budget / block) blocks.push_back(b);
        pointers.push_back(std::ssize(blocks));
    }
    const auto from = [](const std::vector<std::int64_t>& list) {
        return [&list](std::int64_t i) { return list[static_cast<std::size_t>(i)]; };
    };
    s.set("block_q", block).set("block_k", block);
    s.integers("block_indptr", {std::ssize(pointers)}, from(pointers));
    s.integers("block_indices", {std::ssize(blocks)}, from(blocks));
}

/// Sentences of 32 tokens, of which the first stands for them in a section of 512.
void hierarchical_document(Setup& s) {
    const std::int64_t T = s.T;
    s.integers("keep", {3, s.T}, [T](std::int64_t i) {
        constexpr std::int64_t step[] = {1, 32, 512};
        return std::int64_t{i % T % step[i / T] == 0};
    });
    s.integers("group", {3, s.T}, [T](std::int64_t i) {
        constexpr std::int64_t size[] = {32, 512, std::int64_t{1} << 40};
        return i % T / size[i / T];
    });
}

/// Of standard normal keys.
void head_gating(Setup& s) {
    const std::int64_t D = s.source.k.dim, H = s.source.k.heads;
    s.floats("mean", {H, D}, [](std::int64_t) { return 0.f; });
    s.floats("cov", {H, D, D}, [D](std::int64_t i) { return i % D == i / D % D ? 1.f : 0.f; });
    s.set("sink", 4).set("window", at_least_1(s.budget - 4));
}

constexpr Recipe recipes[] = {
    {"sparse/csr", csr},
    {"sparse/block_sparse", block_sparse},
    {"sparse/strided", [](Setup& s) { s.set("stride", at_least_1(s.budget / 2)); }},
    {"sparse/fixed",
     [](Setup& s) {
         s.set("stride", at_least_1(s.budget / 2)).set("c", std::min<std::int64_t>(8, at_least_1(s.budget / 2)));
     }},
    {"sparse/local_global",
     [](Setup& s) {
         s.set("window", at_least_1(s.budget - 4)).integers("global_index", {4}, [&](std::int64_t i) {
             return i * (s.T / 4);
         });
         s.decodes = false;
     }},
    {"sparse/local_chunk",
     [](Setup& s) {
         s.set("chunk", at_least_1(s.budget / 2)).set("overlap", s.budget / 4).exact = Exact::all;
         s.decodes = false;
     }},
    {"sparse/bigbird",
     [](Setup& s) {
         const std::int64_t block = at_least_1(s.budget / 8), blocks = (s.T + block - 1) / block;
         s.set("block", block).exact = Exact::all;
         s.integers("rand_blocks", {1, blocks, 3}, [=](std::int64_t i) { return (7 * i + 3) % blocks; });
         s.decodes = false;
     }},
    {"sparse/head_strides", [](Setup& s) { s.set("stride", at_least_1(s.Tk / s.budget)).exact = Exact::all; }},
    {"sparse/block_rag",
     [](Setup& s) {
         s.integers("block_starts", {(s.Tk + s.budget - 1) / s.budget}, [&](std::int64_t i) { return i * s.budget; });
     }},
    {"sparse/star", [](Setup& s) { s.set("context", s.end - s.end / 8).set("block_size", at_least_1(s.budget / 2)); }},
    {"sparse/hierarchical_document",
     [](Setup& s) {
         hierarchical_document(s);
         s.exact = Exact::causal;
         s.decodes = false;
     }},
    {"sparse/token_types",
     [](Setup& s) {
         s.set("window", s.budget).integers("types", {s.source.k.heads, s.Tk}, [](std::int64_t i) {
             return i % 64 == 0 ? 0 : 1 + i % 2;
         });
     }},
    {"sparse/quest", [](Setup& s) { s.set("page_size", 16).set("top_pages", at_least_1(s.budget / 16)); }},
    {"sparse/moba",
     [](Setup& s) {
         const std::int64_t block = at_least_1(s.budget / 4);
         s.set("block_size", block).set("top_k", at_least_1(s.budget / block));
     }},
    {"sparse/nsa",
     [](Setup& s) {
         s.set("cmp_size", 16).set("cmp_stride", 8).set("slc_size", 16).set("top_n", at_least_1(s.budget / 32));
         s.set("window", at_least_1(s.budget / 2)).set("init_blocks", 0).set("local_blocks", 1).exact = Exact::none;
     }},
    {"sparse/xattention", [](Setup& s) { s.set("block_size", 32); }},
    {"sparse/minference",
     [](Setup& s) {
         s.set("sink", 4).set("local", at_least_1(s.budget / 4)).set("vertical_size", at_least_1(s.budget / 2));
         s.set("slash_size", at_least_1(s.budget / 2));
     }},
    {"sparse/dsa",
     [](Setup& s) {
         indexer(s);
         s.set("top_k", s.budget);
     }},
    {"sparse/msa",
     [](Setup& s) { s.size("Hi", s.source.k.heads).set("block_size", 16).set("top_k", at_least_1(s.budget / 16)); }},
    {"sparse/qsa", [](Setup& s) { s.size("Gi", 4).set("budget", s.budget).give({"k_idx"}); }},
    {"sparse/compressed",
     [](Setup& s) {
         indexer(s);
         s.size("C", s.Tk / 4).give({"v", "k_cmp", "v_cmp", "q_idx", "k_idx"}).set("window", at_least_1(s.budget / 2));
         s.set("top_k", at_least_1(s.budget / 2)).exact = Exact::none;
     }},
    {"sparse/combiner", [](Setup& s) { s.has_mass = false; }},
    {"sparse/head_gating", head_gating},
    {"sparse/landmark",
     [](Setup& s) {
         const std::int64_t block = at_least_1(s.budget / 8);
         s.set("block_size", block).set("top_k", at_least_1(s.budget / block)).has_mass = false;
     }},
    {"sparse/routing",
     [](Setup& s) {
         s.size("TC", at_least_1(s.T / s.budget)).set("window", s.budget).give({"k"}).exact = Exact::none;
         s.decodes = false;
     }},
    {"sparse/social",
     [](Setup& s) {
         s.integers("match", {s.Tk}, [](std::int64_t t) { return std::int64_t{t % 64 == 0}; });
         s.set("delta", s.budget).set("circle_size", s.budget).exact = Exact::all;
     }},
    {"sparse/sparsek",
     [](Setup& s) { s.set("k", at_least_1(s.budget / 2)).set("window", at_least_1(s.budget / 2)).has_mass = false; }},
    {"sparse/loki",
     [](Setup& s) {
         const std::int64_t D = s.source.k.dim;
         s.floats("pca", {s.source.k.heads, D, D}, [D](std::int64_t i) { return i % D == i / D % D ? 1.f : 0.f; });
         s.set("d", at_least_1(D / 2)).set("top_k", s.budget);
     }},
    {"sparse/knn_memory",
     [](Setup& s) {
         const std::int64_t local = at_least_1(s.budget / 2);
         s.Tk = local;
         const std::int64_t past = s.end - local;
         s.size("Tm", past).before("mem_k", past).before("mem_v", past).kept = "Tm";
         s.set("top_k", std::min(past, at_least_1(s.budget - local)));
         s.prefills = false;
     }},
    {"sparse/retrieval",
     [](Setup& s) {
         const std::int64_t half = at_least_1(s.budget / 2), sink = std::min<std::int64_t>(4, half);
         s.set("sink", sink).set("window", at_least_1(half - sink)).set("top_k", half);
     }},
    {"sparse/retrieval_index",
     [](Setup& s) {
         s.size("N", s.end).size("M", s.end / 4).size("Q", 16).set("top_k", std::min<std::int64_t>(16, s.budget));
         s.set("degree", 8).set("query_neighbours", 24).set("build_queue", 32).set("search_queue", 40);
         s.exact = Exact::none;
         s.decodes = false;
     }},
    {"sparse/modality_adaptive",
     [](Setup& s) {
         // The last queries are steps.
         const std::int64_t prompt = s.end - s.end / 8;
         s.integers("modality", {prompt}, [](std::int64_t t) { return std::int64_t{t % 4 == 0}; });
         s.set("secondary_rate", 0.5).set("core_rate", 0.5).set("text_rate", 0.5).decodes = false;
     }},
    {"sparse/triangular_spans",
     [](Setup& s) {
         s.T = s.end;
         s.set("local", 16).set("top_spans", 4).exact = Exact::none;
         s.decodes = false;
     }},
    {"sparse/infini_retrieval",
     [](Setup& s) {
         const std::int64_t asked = std::min<std::int64_t>(16, s.T / 2);
         s.set("context", {0, s.T - asked}).set("question", {s.T - asked, s.T}).exact = Exact::none;
         s.integers("sentence", {s.T - asked}, [](std::int64_t t) { return t / 32; });
         s.decodes = false;
     }},
    {"sparse/maxsim",
     [](Setup& s) {
         const std::int64_t documents = at_least_1(s.end / 128);
         s.Tq = 32;
         s.size("N", s.end).exact = Exact::none;
         s.integers("doc_ptr", {documents + 1},
                    [&](std::int64_t i) { return i == documents ? s.end : i * (s.end / documents); });
         s.decodes = false;
     }},
    {"sparse/rope_reencode",
     [](Setup& s) {
         s.integers("old_position", {s.T}, [](std::int64_t t) { return t; });
         s.integers("new_position", {s.T}, [](std::int64_t t) { return t + 100; }).exact = Exact::none;
         s.decodes = false;
     }},
};

}  // namespace

std::span<const Recipe> sparse_recipes() { return recipes; }

}  // namespace compare
