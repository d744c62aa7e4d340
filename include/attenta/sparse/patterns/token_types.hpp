// Token types: a type says how long each key is read, and when a cache may drop it. Deng et al. 2025, "Neural Attention
// Search" (NAtS), section 3.
//
//   0 global    read by all i >= j
//   1 local     by j <= i <= n, n the next global token after j; without one by all
//   2 sliding   by j <= i <= j + window
//
// Types differ from K/V head to K/V head. Time visible·(D + Dv) per head and query.
#pragma once

#include <attenta/sparse/common.hpp>

#include <vector>

ATTENTA_BEGIN

struct TokenTypesInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const std::int64_t> types;  ///< of keys

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("types", x.types, "[Hkv, Tk]");
    }
};

struct TokenTypesOptions {
    std::int64_t window = -1;         ///< queries behind a sliding token that read it, at least 0; there is no default
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("window", o.window, "queries behind a sliding token that read it, at least 0");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

struct TokenTypesOutputs : SparseOutputs {
    std::int64_t* last_reader = nullptr;  ///< [Hkv, Tk], last position that may read a key, -1 without limit; or null
    std::int64_t* alive = nullptr;        ///< [Hkv, Tk], 1 where position Tk may still read it, else 0; or null
};

/// The last position that may read each key.
class LastReaders {
public:
    static constexpr std::int64_t no_limit = saturating::most;

    /// Throws Error on types outside 0 .. 2 and a window below 0.
    LastReaders(Heads<const std::int64_t> types, std::int64_t window);

    std::int64_t heads() const { return heads_; }
    std::int64_t keys() const { return keys_; }
    std::int64_t of(std::int64_t head, std::int64_t key) const { return last_.data()[head * keys_ + key]; }
    /// The pattern for `query_heads` heads. Borrows this.
    Mask mask(std::int64_t query_heads) const;
    /// The keys that some query of each block of the last `queries` ones reads: a list for each K/V head.
    KeyLists lists(std::int64_t queries, std::int64_t query_block = 128) const;

private:
    std::int64_t heads_, keys_;
    std::vector<std::int64_t> last_;  ///< [heads, keys]
};

/// Throws Error on shapes, types and options that do not fit; nothing is written then. The lists that it gives are those of
/// LastReaders, whose mask goes with them.
void token_types(const TokenTypesInputs& x, const TokenTypesOutputs& out, const TokenTypesOptions& options,
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/token_types.inl>
#endif
