// SparseK attention: scores of keys that do not depend on the query choose at most k of them, softly. Lou et al. 2024, "Sparser is
// Faster and Less is More: Efficient Sparse Attention for Long-Range Transformers", sections 3.1-3.4.
//
//   m    = argmin ‖m − u‖² over 0 <= m <= 1, Σm = k, so clip(u − τ, 0, 1), of the candidates j <= i − window
//   A(i) = the k candidates of the largest u with m > 0, and the window i − window < j <= i
//   o_i  = Σ p_j m_j v_j,  p = softmax of scale · q_i·(m_j k_j);  keys of the window have m = 1
//
// A new candidate never lowers τ, so one whose m has come to 0 is dropped for good. Time log k per candidate to choose and
// (k + window)·(D + Dv) to attend, per query.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>
#include <string_view>

ATTENTA_BEGIN

/// What m multiplies: keys and values, values, or nothing.
enum class SparsekGate : std::uint8_t { kv, v, none };
constexpr std::array<std::string_view, 3> names_of(SparsekGate) { return {"kv", "v", "none"}; }

struct SparsekInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const float> u;  ///< score of each key, with whatever slope the caller gives it

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("u", x.u, "[Hkv, Tk]");
    }
};

struct SparsekOptions {
    std::int64_t k = 256;     ///< candidates that a query reads at most
    std::int64_t window = 0;  ///< newest keys, which are no candidates and always read
    SparsekGate gate = SparsekGate::kv;
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("k", o.k, "candidates that a query reads at most");
        visit("window", o.window, "newest keys, which are always read");
        visit("gate", o.gate, "kv, v or none: what the soft choice multiplies");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct SparsekOutputs : SparseOutputs {
    float* tau = nullptr;  ///< [Hkv, Tq], the thresholds; or null
};

/// The selection alone: a list for each K/V head and query, with the gates. Throws Error on shapes and options that do not
/// fit, and on a u that is not finite.
void sparsek_lists(const SparsekInputs& x, KeyLists& lists, const SparsekOptions& options = {}, float* tau = nullptr);

/// Throws Error as sparsek_lists does; nothing is written then.
void sparsek(const SparsekInputs& x, const SparsekOutputs& out, const SparsekOptions& options = {},
             Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/content/sparsek.inl>
#endif
