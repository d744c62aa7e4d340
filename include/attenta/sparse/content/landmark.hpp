// Landmark attention: the last token of each block stands for it, and its weight is spread over the block's other tokens by a
// softmax of their own. Mohtashami and Jaggi 2023, "Landmark Attention: Random-Access Infinite Context Length for
// Transformers", section 3.
//
//   direct: ordinary tokens j <= i of the own block, and landmarks b of the chosen earlier blocks;  p = softmax(scale · q·k)
//   o_i = Σ_j p_ij v_j + Σ_b p_ib Σ_{j ∈ b} softmax_{j ∈ b}(scale · q_i·k_j) v_j,  landmarks themselves have no value
//
// Chosen are all earlier blocks, or the top_k of the best landmarks. With inside_ib = log Σ_{j ∈ b} exp(s_ij) it is one softmax
// of the scores s_ij + s_ib − inside_ib, so a first pass finds inside and a second one attends. Time, per query, T·(2D + Dv),
// or T/B·D to rank and top_k·B·(2D + Dv) to attend.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

/// Who chooses blocks: each query and head by its scores, or each head once, by the largest weight that any of its queries
/// gives a landmark among all of them.
enum class LandmarkRetrieval : std::uint8_t { token, max_over_tokens };
constexpr std::array<std::string_view, 2> names_of(LandmarkRetrieval) { return {"token", "max_over_tokens"}; }

/// Keys have the positions that the caller has given them.
struct LandmarkInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
    }
};

struct LandmarkOptions {
    std::int64_t block_size = 64;            ///< tokens of a block, its landmark among them
    std::optional<std::int64_t> top_k = {};  ///< earlier blocks that a query reads, default all
    LandmarkRetrieval retrieval = LandmarkRetrieval::token;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("block_size", o.block_size, "tokens of a block, its landmark among them");
        visit("top_k", o.top_k, "earlier blocks that a query reads, default all");
        visit("retrieval", o.retrieval, "token or max_over_tokens: who chooses blocks");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone, for options with top_k: whole blocks, and the own one up to the query, for each query head and
/// query. Throws Error on shapes and options that do not fit.
void landmark_lists(const LandmarkInputs& x, KeyLists& lists, const LandmarkOptions& options,
                    Context& context = default_context());

/// `out.lists` is written where there is a top_k. Throws Error on shapes and options that do not fit; nothing is written
/// then.
void landmark(const LandmarkInputs& x, const SparseOutputs& out, const LandmarkOptions& options = {},
              Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/content/landmark.inl>
#include <attenta/sparse/content/landmark_kernels.inl>
#endif
