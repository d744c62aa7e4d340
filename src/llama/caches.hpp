// Storages and eviction policies by name, and a cache whose layers are all under one policy.
#pragma once

#include <attenta/attenta.hpp>
#include <attenta/kv.hpp>
#include <attenta/kv/eviction/fixed_scores.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace caches {

struct Storage {
    const char* name;
    attenta::KvStorage storage;
};

inline const std::vector<Storage>& storages() {
    using attenta::Dtype, attenta::KvStorage;
    static const std::vector<Storage> all = {{"f32", Dtype::f32},         {"bf16", Dtype::bf16},
                                             {"f16", Dtype::f16},         {"int8", KvStorage::int8()},
                                             {"int4", KvStorage::int4()}, {"k8v4", KvStorage::k8v4()}};
    return all;
}

/// Keeps everything.
struct Full final : attenta::EvictionPolicy {
    attenta::EvictionNeeds needs(const attenta::EvictionShape&) override { return {}; }
    void judge(const attenta::EvictionMoment&, std::span<const attenta::HeldTokens>,
               std::span<attenta::EvictionChoice>) override {}
};

/// Keeps tokens by lot: the baseline that every policy has to beat.
class Lot final : public attenta::eviction::FixedScores {
public:
    explicit Lot(std::int64_t budget) : FixedScores("lot", {.budget = budget}) {}

private:
    float score(const attenta::HeldTokens&, std::int64_t, const float*) const override { return lots_(random_); }

    mutable std::mt19937 random_{1};
    mutable std::uniform_real_distribution<float> lots_;
};

/// A policy that keeps `budget` tokens per K/V head, with the defaults of its paper otherwise.
struct Policy {
    const char* name;
    std::unique_ptr<attenta::EvictionPolicy> (*make)(std::int64_t budget);
    bool for_prompts = false;  ///< made to compress a prompt,
    bool for_steps = true;     ///< and evicts after each token, too
};

template <class P>
std::unique_ptr<attenta::EvictionPolicy> make(std::int64_t budget) {
    typename P::Options options;
    options.budget = budget;
    return std::make_unique<P>(options);
}

/// With a window of at most a quarter of the budget. SnapKV evicts after each token, too.
template <class P>
std::unique_ptr<attenta::EvictionPolicy> make_windowed(std::int64_t budget) {
    typename P::Options options;
    options.budget = budget;
    options.window = std::clamp<std::int64_t>(budget / 4, 1, options.window);
    if constexpr (std::is_same_v<P, attenta::Snapkv>) options.decode = attenta::SnapkvDecode::evict;
    return std::make_unique<P>(options);
}

inline std::unique_ptr<attenta::EvictionPolicy> make_vatp(std::int64_t budget) {
    attenta::VatpOptions options;
    options.budget = budget;
    options.sink = std::min<std::int64_t>(options.sink, budget / 4);
    return std::make_unique<attenta::Vatp>(options);
}

inline const std::vector<Policy>& policies() {
    using std::int64_t;
    static const std::vector<Policy> all = {
        {"full", [](int64_t) -> std::unique_ptr<attenta::EvictionPolicy> { return std::make_unique<Full>(); }},
        {"random_eviction",
         [](int64_t budget) -> std::unique_ptr<attenta::EvictionPolicy> { return std::make_unique<Lot>(budget); }},
        {"streaming", make<attenta::Streaming>},
        {"h2o", make<attenta::H2o>},
        {"scissorhands", make<attenta::Scissorhands>},
        {"tova", make<attenta::Tova>},
        {"vatp", make_vatp},
        {"caote", make<attenta::Caote>},
        {"keydiff", make<attenta::Keydiff>},
        {"knorm", make<attenta::Knorm>},
        {"snapkv", make_windowed<attenta::Snapkv>, true},
        {"ada_kv", make_windowed<attenta::AdaKv>, true, false},
        {"defensive_kv", make_windowed<attenta::DefensiveKv>, true, false},
        {"kv_merge", make_windowed<attenta::KvMerge>, true, false},
    };
    return all;
}

/// Names of a table's rows.
template <class Row>
std::vector<std::string> names(const std::vector<Row>& table) {
    std::vector<std::string> list;
    for (const Row& row : table) list.emplace_back(row.name);
    return list;
}

/// The row of a name. Throws attenta::Error where there is none.
template <class Row>
const Row& find(const std::vector<Row>& table, std::string_view name) {
    const auto found = std::find_if(table.begin(), table.end(), [&](const Row& row) { return row.name == name; });
    if (found == table.end()) attenta::fail("caches", "there is nothing called " + std::string(name));
    return *found;
}

/// Bytes of a row of K and one of V in a cache without floats beside codes.
inline std::int64_t row_bytes(const attenta::KvCache& cache) {
    const attenta::KvView kv = cache.view(0);
    return kv.k.token_stride * attenta::size_of(kv.k.dtype) + kv.v.token_stride * attenta::size_of(kv.v.dtype);
}

/// A cache and, for each of its layers, the policy in an instance of its own.
class EvictedCache {
public:
    EvictedCache(const attenta::CacheOptions& options, std::int64_t query_heads, const Policy& policy,
                 std::int64_t budget)
        : cache_(options) {
        for (int layer = 0; layer < options.layers; ++layer) {
            policies_.push_back(policy.make(budget));
            layers_.emplace_back(cache_, *policies_.back(),
                                 attenta::EvictorOptions{.layer = layer, .query_heads = query_heads});
        }
    }
    EvictedCache(const EvictedCache&) = delete;
    EvictedCache& operator=(const EvictedCache&) = delete;

    const attenta::KvCache& cache() const { return cache_; }
    /// Attention of the tokens of a call, which join the cache, in a layer: at first of a prompt, then of one after the other.
    void attend(std::int64_t layer, attenta::Heads<const float> q, attenta::Heads<const float> k,
                attenta::Heads<const float> v, attenta::Heads<float> o,
                attenta::Context& context = attenta::default_context()) {
        attenta::Evictor& evictor = layers_[static_cast<std::size_t>(layer)];
        if (cache_.seen(static_cast<int>(layer)) == 0)
            evictor.prompt(q, k, v, o, context);
        else
            evictor.step(q, k, v, o, context);
    }

    /// Bytes of the rows that are held.
    double held_bytes() const {
        const attenta::CacheOptions& o = cache_.options();
        double held = 0;
        for (int layer = 0; layer < o.layers; ++layer)
            for (std::int64_t head = 0; head < o.kv_heads; ++head)
                held += static_cast<double>(cache_.size(layer, head));
        return held * static_cast<double>(row_bytes(cache_));
    }

private:
    attenta::KvCache cache_;
    std::vector<std::unique_ptr<attenta::EvictionPolicy>> policies_;
    std::deque<attenta::Evictor> layers_;
};

}  // namespace caches
