// A KV cache: one producer of KvView.
//
// First form: one sequence, per layer contiguous, f32, bf16 or f16. Quantised and paged storage are further values of
// `storage` and a page size in CacheOptions; eviction works on the slots of a layer and fills KvView::positions.
//
// Numbers round to the nearest of the storage type, halves to even. NaN and infinities are data and stay what they are;
// a finite number beyond the largest of the storage type (65504 in f16) is refused, not turned into an infinity.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>

#include <cstdint>
#include <vector>

ATTENTA_BEGIN

struct CacheOptions {
    int layers = 1;
    std::int64_t kv_heads = 0;
    std::int64_t dim = 0;
    std::int64_t dim_v = 0;     ///< 0: as dim
    std::int64_t capacity = 0;  ///< tokens
    Dtype storage = Dtype::f32;
};

class KvCache {
public:
    /// Allocates everything. Throws Error on sizes below 1, and if there is not so much memory.
    explicit KvCache(const CacheOptions& options);

    /// Adds k [Hkv, n, D] and v [Hkv, n, Dv] to a layer, converted to the storage type. Throws Error when shapes do not
    /// fit, the layer would hold more than `capacity`, or a number is beyond the storage type; the cache is as before
    /// then.
    void append(int layer, Heads<const float> k, Heads<const float> v);

    /// Forgets all but the first `tokens` tokens of every layer (those that hold more).
    void truncate(std::int64_t tokens);

    std::int64_t size(int layer = 0) const;
    const CacheOptions& options() const { return options_; }
    std::int64_t bytes() const { return static_cast<std::int64_t>(memory_.size()); }

    /// What the layer holds now, [head, token, dim]. Valid until the next append or truncate.
    KvView view(int layer) const;

private:
    void check_layer(const char* function, int layer) const;
    void check_appended(int layer, Heads<const float> k, Heads<const float> v) const;
    std::byte* row(int layer, bool value, std::int64_t head, std::int64_t token) const;

    CacheOptions options_;
    Workspace memory_;
    std::vector<std::int64_t> lengths_;
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/cache.inl>
#endif
