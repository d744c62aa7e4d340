// Compressed attention: every `rate` tokens are pooled into one entry; a query reads, in one softmax, a window of tokens, the
// complete entries, and a sink. DeepSeek-V4 (DeepSeek-AI 2026): HCA reads all entries, CSA the best of an indexer.
//
//   entry_w = rotate(norm(Σ_t softmax_t(gate_t + bias) · kv_t, channel by channel), position w·rate)
//   E(i)    = e < floor((i + 1) / rate), all, or the top_k of the largest I_ie = Σ_h w_idx_hi · max(0, q_idx_hi · key_e)
//   o_i     = softmax over (i - window, i], E(i) and the sink; its rotated channels turned back by the query's position
//
// One K/V head; keys are the values unless there are others. The last tokens are in the window and may be in an entry, too:
// they count twice. Ties go to the lower entry. Time (window + entries)·(D + Dv) per head and query, Tk/rate·Gi·Di per
// query to rank.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/common.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

/// Entries of complete windows of tokens, of keys or of index keys. Kept beside a cache, O(D) for each new token: of the
/// tokens that wait there is a running softmax for each channel.
class CompressedEntries {
public:
    struct Form {
        std::int64_t dim = 0, rate = 4;
        bool overlap = false;              ///< 2·dim channels: an entry pools the first half of the window before and
                                           ///< the last half of its own, with one softmax
        Matrices<const float> bias = {};   ///< [rate, channels] of a token's place in its window, or without data
        std::span<const float> norm = {};  ///< [dim], factors behind x / sqrt(mean x² + eps); empty: 1
        std::span<const float> freq = {};  ///< [m], 2m <= dim: the last m pairs of channels turn by position · freq
        float eps = 1e-6f;
    };

    CompressedEntries() = default;
    /// Copies bias, norm and freq. Throws Error where sizes do not fit.
    explicit CompressedEntries(const Form& form);

    /// The next tokens, kv and gate [n, channels]. Throws Error where sizes differ.
    void append(const Matrices<const float>& kv, const Matrices<const float>& gate,
                Context& context = default_context());
    std::int64_t tokens() const { return tokens_; }
    /// [complete windows, dim], CompressedInputs::k_cmp or k_idx. Valid until the next append.
    Matrices<const float> rows() const { return {rows_.data(), 1, tokens_ / rate_, dim_}; }

private:
    /// A softmax over the tokens of a channel, as far as it has come.
    struct Pool {
        double max = -std::numeric_limits<double>::infinity(), sum = 0, value = 0;

        void add(double gate, double x);
        void add(const Pool& other);
    };
    std::int64_t channels() const { return overlap_ ? 2 * dim_ : dim_; }
    void pool(const Matrices<const float>& kv, const Matrices<const float>& gate, std::int64_t first, std::int64_t end);
    void finish(std::int64_t entry);

    std::int64_t dim_ = 0, rate_ = 1, tokens_ = 0;
    bool overlap_ = false;
    double eps_ = 0;
    std::vector<float> bias_, norm_, freq_, rows_;
    std::vector<Pool> here_, before_, next_;  ///< [dim] of the open window, the one before, this one for the next entry
};

/// Entries k_cmp and v_cmp, index keys k_idx: Tk / rate rows, as CompressedEntries has them. Values are the keys where V of
/// the cache is its K, KvView::of(k, k); then there is no v_cmp. The indexer's tensors are read where there is a top_k.
struct CompressedInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> k_cmp = {}, v_cmp = {};
    std::span<const float> sink = {};       ///< [Hq] a logit that joins the denominator, or empty
    std::span<const float> rope_freq = {};  ///< [m]: the last m pairs of output channels turn back by position · freq
    Heads<const float> q_idx = {}, w_idx = {};
    Matrices<const float> k_idx = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        others(visit, x);
    }
    static void others(auto&& visit, auto& x) {
        visit("k_cmp", x.k_cmp, "[C, D]", Input::optional);
        visit("v_cmp", x.v_cmp, "[C, Dv]", Input::optional);
        visit("sink", x.sink, "[Hq]", Input::optional);
        visit("rope_freq", x.rope_freq, "[m]", Input::optional);
        visit("q_idx", x.q_idx, "[Gi, Tq, Di]", Input::optional);
        visit("w_idx", x.w_idx, "[Gi, Tq]", Input::optional);
        visit("k_idx", x.k_idx, "[C, Di]", Input::optional);
    }
};

struct CompressedOptions {
    std::int64_t rate = 4;                   ///< tokens of an entry, CSA 4, HCA 128
    std::int64_t window = 128;               ///< tokens that a query reads, its own among them
    std::optional<std::int64_t> top_k = {};  ///< entries that a query reads, CSA 512; all without
    bool unrotate = true;                    ///< turn the output's rotated channels back
    std::optional<float> scale = {};         ///< default 1/sqrt(D)
    bool check_data = false;                 ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("rate", o.rate, "tokens of an entry");
        visit("window", o.window, "tokens that a query reads, its own among them");
        visit("top_k", o.top_k, "entries that a query reads, default all");
        visit("unrotate", o.unrotate, "turn the output's rotated channels back");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The selection alone, a list of entries for each query, of calls with a top_k. Throws Error on shapes and options that do
/// not fit.
void compressed_lists(const CompressedInputs& x, KeyLists& lists, const CompressedOptions& options,
                      Context& context = default_context());

/// lse counts the sink; `lists` gets entries, where there is a top_k. Throws Error on shapes and options that do not fit;
/// nothing is written then.
void compressed(const CompressedInputs& x, const SparseOutputs& out, const CompressedOptions& options = {},
                Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/select.inl>
#include <attenta/sparse/indexers/compressed.inl>
#endif
