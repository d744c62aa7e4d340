// Qwen sparse attention: each query reads the best complete blocks of a few tokens, and its own incomplete one.
// Qwen3.8-Flash-Next, the preview of Qwen4 (Qwen team 2026).
//
//   key_e  = rotate(norm(mean of k_idx_j, j in block e), position e·r),  r = ratio
//   I_ie   = Σ_h max(0, q_idx_hi · key_e),  e < floor((i + 1) / r)
//   A(i)   = the floor(budget / r) best blocks by I, shared by all heads, and r·floor((i + 1) / r) .. i
//   o_i    = Σ_{j ∈ A} softmax_j(scale · q_i·k_j) v_j
//
// Ties, as those of blocks that no head likes, go to the lower block. Time Tk/r·Gi·Di to rank and budget·(D + Dv) per head
// to attend, per query.
#pragma once

#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

#include <span>
#include <vector>

ATTENTA_BEGIN

/// Index keys of complete blocks: the mean of their tokens' keys, normed and rotated as the block's first token stands.
/// Kept beside a cache, O(Di) for each new key.
class QsaBlockKeys {
public:
    struct Form {
        std::int64_t dim = 0, ratio = 4;
        std::span<const float> norm = {};  ///< [dim], factors behind x / sqrt(mean x² + eps); empty: no norm
        std::span<const float> freq = {};  ///< [m], 2m <= dim: channels c and c + m turn by position · freq[c]
        float eps = 1e-6f;
    };

    QsaBlockKeys() = default;
    /// Copies norm and freq. Throws Error where sizes do not fit.
    explicit QsaBlockKeys(const Form& form);

    /// The next tokens' index keys [n, dim]. Throws Error where features differ.
    void append(const Matrices<const float>& k_idx);
    std::int64_t keys() const { return keys_; }
    /// [complete blocks, dim], QsaInputs::k_block. Valid until the next append.
    Matrices<const float> rows() const { return {rows_.data(), 1, keys_ / ratio_, dim_}; }

private:
    void end_block();

    std::int64_t dim_ = 0, ratio_ = 1, keys_ = 0;
    std::vector<float> norm_, freq_, rows_;
    double eps_ = 0;
    std::vector<double> sum_;  ///< [dim] of the block that is not complete
};

/// Index keys come as those of tokens, k_idx, or of complete blocks, k_block, which are finished.
struct QsaInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> q_idx;
    Matrices<const float> k_idx = {}, k_block = {};
    std::span<const float> k_norm = {}, rope_freq = {};  ///< see QsaBlockKeys::Form

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("q_idx", x.q_idx, "[Gi, Tq, Di]");
        visit("k_idx", x.k_idx, "[Tk, Di]", Input::optional);
        visit("k_block", x.k_block, "[C, Di]", Input::optional);
        visit("k_norm", x.k_norm, "[Di]", Input::optional);
        visit("rope_freq", x.rope_freq, "[m]", Input::optional);
    }
};

struct QsaOptions {
    std::int64_t ratio = 4;           ///< tokens of a block
    std::int64_t budget = 2048;       ///< tokens of the blocks that a query reads
    float eps = 1e-6f;                ///< of the norm of block keys
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("ratio", o.ratio, "tokens of a block");
        visit("budget", o.budget, "tokens of the blocks that a query reads");
        visit("eps", o.eps, "of the norm of block keys");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone, a list for each query: blocks, then the tail. Throws Error on shapes and options that do not fit.
void qsa_lists(const QsaInputs& x, KeyLists& lists, const QsaOptions& options = {},
               Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void qsa(const QsaInputs& x, const SparseOutputs& out, const QsaOptions& options = {},
         Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/indexers/qsa.inl>
#endif
