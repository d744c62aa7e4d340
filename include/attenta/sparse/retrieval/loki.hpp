// Loki: keys are ranked by a few of their principal components. Singhania et al. 2024, "Loki: Low-Rank Keys for Efficient
// Sparse Attention", section 4, algorithm 1.
//
//   a_ij = (q_i P)_{1..d} · (k_j P)_{1..d},  A(h, i) = top_k of j <= i by a
//   o_i  = Σ_{j ∈ A} softmax_j(scale · q_i·k_j) v_j
//
// P is the PCA basis of the keys of a K/V head, before or after rotation of positions as the cache holds them. Scores of
// the chosen keys are exact, and those of rotated keys would be the same: P is orthonormal, which is the caller's to know.
// Time Tk·d per query to rank and top_k·(D + Dv) to attend; d numbers per key are kept.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/key_panels.hpp>

#include <algorithm>
#include <vector>

ATTENTA_BEGIN

/// The first components k P of all keys. Kept beside a cache, O(D · d) for each new key.
class LowRankKeys {
public:
    LowRankKeys() = default;
    /// pca [Hkv, D, D], columns are components by falling variance; those that count are copied. Throws Error where it is
    /// not square, and on components outside 1 .. D.
    LowRankKeys(Heads<const float> pca, std::int64_t components, Dtype storage = Dtype::f32);

    /// The keys that the cache holds beyond those seen so far. Throws Error where heads or features differ.
    void update(const KvView& kv);
    const KeyPanels& rows() const { return table_; }  ///< [Hkv, keys, components]
    std::int64_t dim() const { return dim_; }        ///< D
    /// A row of D numbers in the basis of a K/V head: its components.
    void project(std::int64_t kv_head, const float* x, float* to) const;

private:
    std::int64_t dim_ = 0;
    std::vector<float> basis_;  ///< [Hkv, D, components]
    KeyPanels table_;
};

/// `low` of all keys with the options' number of components, or null: they are made for this call.
struct LokiInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> pca;
    const LowRankKeys* low = nullptr;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("pca", x.pca, "[Hkv, Tp, D]");
    }
};

struct LokiOptions {
    std::optional<std::int64_t> d = {};      ///< components that rank, default D/4
    std::optional<std::int64_t> top_k = {};  ///< keys that a query reads, default Tk/4
    std::optional<float> scale = {};         ///< default 1/sqrt(D)
    bool check_data = false;                 ///< refuse NaN

    std::int64_t components(std::int64_t dim) const { return d.value_or(std::max<std::int64_t>(1, dim / 4)); }
    std::int64_t read_keys(std::int64_t keys) const { return top_k.value_or(std::max<std::int64_t>(1, keys / 4)); }

    static void fields(auto&& visit, auto& o) {
        visit("d", o.d, "components that rank, default D/4");
        visit("top_k", o.top_k, "keys that a query reads, default Tk/4");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone: a list for each query head and query. Throws Error on shapes and options that do not fit.
void loki_lists(const LokiInputs& x, KeyLists& lists, const LokiOptions& options = {},
                Context& context = default_context());

/// Throws Error on shapes and options that do not fit; nothing is written then.
void loki(const LokiInputs& x, const SparseOutputs& out, const LokiOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/retrieval/kernels.inl>
#include <attenta/sparse/retrieval/loki.inl>
#endif
