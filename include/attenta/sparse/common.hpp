// What the sparse mechanisms share: their outputs, and attention over the keys that they have selected.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/engine/attention/request.hpp>
#include <attenta/engine/common/call_memory.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/inputs.hpp>
#include <attenta/engine/lists/key_lists.hpp>
#include <attenta/engine/mask/combine.hpp>
#include <attenta/engine/mask/masks.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

ATTENTA_BEGIN

/// Where a sparse attention writes.
struct SparseOutputs {
    Heads<float> o;             ///< [Hq, Tq, Dv], 0 where a query reads no key
    float* lse = nullptr;       ///< [Hq, Tq], natural logarithm, -inf there; or null
    KeyLists* lists = nullptr;  ///< takes the keys that were selected, for other layers and steps; or null
};

/// The inputs and options of a mechanism's function, for code that serves all mechanisms.
template <auto function>
struct SparseFunction;
template <class In, class Out, class Opt, void (*function)(const In&, const Out&, const Opt&, Context&)>
struct SparseFunction<function> {
    using Inputs = In;
    using Outputs = Out;  ///< SparseOutputs, or what is derived from it
    using Options = Opt;
};

/// Where queries stand.
enum class Positions : std::uint8_t {
    none,  ///< nowhere: cross-attention, any Tq
    last,  ///< they are the last Tq of Tk tokens
    same,  ///< Tq = Tk
};

namespace detail {

/// A call whose inputs, outputs and scale have been checked.
struct SparseCall {
    const char* function;
    Heads<const float> q;
    KvView kv;
    SparseOutputs out;
    float scale;
    Context* context;

    std::int64_t group() const { return q.heads / kv.heads; }
    std::int64_t keys() const { return kv.length(0); }
    /// Position of query 0.
    std::int64_t first_position() const { return keys() - q.tokens; }

    /// The request without masks and lists.
    attention::Request request() const;
    void run(const attention::Request& request) const;
    /// Attention over what the mask shows.
    void attend(const Mask& mask) const;
    /// Over the keys on the lists, of them those that the mask shows, which goes by positions. `out.lists` gets a copy,
    /// unless it is these.
    void attend(const KeyLists& lists, const Mask& mask = {}) const;
};

/// Throws Error before anything is written.
SparseCall check_sparse(const char* function, std::span<const Input> inputs, Heads<const float> q, const KvView& kv,
                        const SparseOutputs& out, std::optional<float> scale, Positions positions, bool check_data,
                        Context& context);

/// The same of a mechanism's structs.
template <class Inputs, class Options>
SparseCall check_sparse(const char* function, const Inputs& x, const SparseOutputs& out, const Options& options,
                        Positions positions, Context& context) {
    return check_sparse(function, InputList(x), x.q, x.kv, out, options.scale, positions, options.check_data, context);
}

/// The lists of a call: the caller's, or those for its time.
class CallLists {
public:
    explicit CallLists(const SparseCall& call) : CallLists(call, call.out.lists) {}
    CallLists(const SparseCall& call, KeyLists* given)
        : own_(call.q.tokens, *call.context), lists_(given ? given : &*own_) {}
    KeyLists& operator*() const { return *lists_; }
    KeyLists* operator->() const { return lists_; }

private:
    CallMemory<KeyLists> own_;
    KeyLists* lists_;
};

/// Queries [heads, tokens, dim] that a selection makes of the call's.
class CallQueries {
public:
    CallQueries(std::int64_t heads, std::int64_t tokens, std::int64_t dim, Context& context)
        : memory_(tokens, context) {
        memory_->x.resize(static_cast<std::size_t>(heads * tokens * dim));
        view_ = hnd(memory_->x.data(), heads, tokens, dim);
    }
    const Heads<float>& view() const { return view_; }

private:
    struct Numbers {
        std::vector<float> x;
    };
    CallMemory<Numbers> memory_;
    Heads<float> view_;
};

/// Results of a call's queries over several sets of keys, which have K and V of their own or masks of their own.
class SparseParts {
public:
    SparseParts(const SparseCall& call, std::int64_t parts);

    /// The request of a part: the call's, to be changed.
    attention::Request request() const { return call_->request(); }
    /// Attention of the request's q over its K and V: the next part.
    void add(const attention::Request& request);
    /// o of a part, [Hq, Tq, Dv].
    Heads<float> o(std::int64_t part);
    /// Its rows' statistics, [Hq, Tq].
    const RowStatistics* statistics(std::int64_t part) const {
        return results_->statistics.data() + part * call_->q.heads * call_->q.tokens;
    }
    /// Writes o and lse of the call: sets of keys that do not meet, as one.
    void merge() const;

private:
    struct Results {
        std::vector<float> o;                   ///< [parts, Hq, Tq, Dv]
        std::vector<RowStatistics> statistics;  ///< [parts, Hq, Tq]
    };

    const SparseCall* call_;
    CallMemory<Results> results_;
    std::int64_t parts_, count_ = 0;
};

/// Throws Error unless what a selection reads is given and fits, with queries that are the last of one sequence. Of the
/// cache that is all: a call with attention has checked it.
void check_selection(const char* function, std::span<const Input> inputs, Heads<const float> q, const KvView& kv);

/// How many blocks of `size` there are in n things, of which the last block may have fewer.
inline std::int64_t blocks_of(std::int64_t n, std::int64_t size) { return n / size + (n % size != 0); }

/// A matrix [keys, features] as keys of one head.
inline KvView keys_of(const Matrices<const float>& x) {
    const Heads<const float> rows{x.data, 1, x.rows, x.cols, 0, x.row_stride};
    return KvView::of(rows, rows);
}

/// Throws Error on NaN in K, or V where `values`, of a cache, whose name in the call is `name`.
void check_rows(const char* function, const char* name, const KvView& kv, bool values);

/// Throws Error on a scale that is not finite or not above 0.
void check_scale(const char* function, std::optional<float> scale);

/// Throws Error unless eps, which keeps a norm from 0, is a finite number >= 0.
void check_eps(const char* function, float eps);
using checks::require_at_least;

}  // namespace detail

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/engine/common/inputs.inl>
#include <attenta/sparse/common.inl>
#endif
