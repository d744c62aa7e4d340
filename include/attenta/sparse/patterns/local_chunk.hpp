// Chunked local attention with overlap: each chunk of tokens reads itself and its edges. Hofstätter et al. 2020, "Local
// Self-Attention over Long Text for Efficient Document Retrieval" (TKL).
//
//   A(i) = c · chunk - overlap <= j < (c + 1) · chunk + overlap,  c = i div chunk
//
// Time T·(chunk + 2·overlap)·(D + Dv) per head. Not causal. The model encodes positions within the extended chunk before
// its projections; that is the caller's.
#pragma once

#include <attenta/sparse/common.hpp>
#include <attenta/sparse/patterns/parts.hpp>

ATTENTA_BEGIN

struct LocalChunkInputs {
    Heads<const float> q;
    KvView kv;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
    }
};

struct LocalChunkOptions {
    std::int64_t chunk = 40;          ///< tokens of a chunk
    std::int64_t overlap = 5;         ///< tokens read on either side of it, of which there may be more than its own
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("chunk", o.chunk, "tokens of a chunk");
        visit("overlap", o.overlap, "tokens read on either side of a chunk");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// The pattern. Throws Error on options out of range.
inline Mask local_chunk_mask(const LocalChunkOptions& options) {
    detail::require_at_least("local_chunk", "chunk", options.chunk, 1);
    detail::require_at_least("local_chunk", "overlap", options.overlap, 0);
    return Chunks{options.chunk, options.overlap};
}

/// Throws Error on shapes and options that do not fit; nothing is written then.
inline void local_chunk(const LocalChunkInputs& x, const SparseOutputs& out, const LocalChunkOptions& options = {},
                        Context& context = default_context()) {
    const auto call = detail::check_sparse("local_chunk", x, out, options, Positions::same, context);
    const Mask mask = local_chunk_mask(options);
    call.attend(mask);
    detail::give_lists(call, mask);
}

ATTENTA_END
