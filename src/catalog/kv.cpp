#include <attenta/core/finite.hpp>
#include <attenta/sparse/documents/rope_reencode.hpp>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> attention_policy_rows(), weights_policy_rows(), budget_policy_rows(), key_policy_rows(),
    storage_rows();

EvictionRun::EvictionRun(Arguments& args) : args_(args) {
    const auto q = args.array<float>("q", {any_size, any_size, any_size});
    const auto k = args.array<float>("k", {q.shape[0], any_size, q.shape[2]});
    const auto v = args.array<float>("v", {q.shape[0], k.shape[1], any_size});
    q_ = nhd(q.data, q.shape[0], q.shape[1], q.shape[2]);
    k_ = nhd(k.data, k.shape[0], k.shape[1], k.shape[2]);
    v_ = nhd(v.data, v.shape[0], v.shape[1], v.shape[2]);
    for (const auto& x : {q_, k_, v_})
        for (std::int64_t h = 0; h < x.heads; ++h)
            for (std::int64_t t = 0; t < x.tokens; ++t)
                if (!std::all_of(x.row(h, t), x.row(h, t) + x.dim, [](float n) { return is_finite(n); }))
                    args_.refuse("q, k or v has a number at token " + std::to_string(t) +
                                 " that is not finite, needs finite numbers");
}

void EvictionRun::rotate(float rope_base, Context& context) {
    if (q_.dim % 2 != 0)
        args_.refuse("keys have " + std::to_string(q_.dim) + " features, rotary positions need an even number");
    std::vector<std::int64_t> positions(static_cast<std::size_t>(tokens()));
    const std::vector<std::int64_t> start(positions.size());
    std::iota(positions.begin(), positions.end(), 0);
    for (const auto& [x, rotated] : {std::pair{&q_, &rotated_q_}, {&k_, &rotated_k_}}) {
        rotated->resize(static_cast<std::size_t>(x->tokens * x->heads * x->dim));
        const Heads<float> to = nhd(rotated->data(), x->tokens, x->heads, x->dim);
        rope_reencode({*x, start, positions}, to, {.base = rope_base}, context);
        *x = to;
    }
}

void EvictionRun::operator()(EvictionPolicy& policy, std::int64_t prompt, std::optional<float> scale,
                             std::int64_t width, Context& context,
                             const std::function<void(const Evictor&)>& after_prompt) {
    if (prompt < 1 || prompt > tokens())
        args_.refuse("prompt is " + std::to_string(prompt) + ", needs 1 to the " + std::to_string(tokens()) +
                     " tokens of q");
    KvCache cache({.kv_heads = k_.heads, .dim = k_.dim, .dim_v = v_.dim, .capacity = tokens()});
    Evictor evictor(cache, policy, {.query_heads = q_.heads, .scale = scale});
    const std::int64_t steps = tokens() - prompt;
    float* const o = args_.output<float>("o", {steps, q_.heads, v_.dim});
    std::int64_t* const kept = args_.output<std::int64_t>("kept", {k_.heads, width});
    evictor.prompt(q_.slice(0, prompt), k_.slice(0, prompt), v_.slice(0, prompt), {}, context);
    if (after_prompt) after_prompt(evictor);
    for (std::int64_t t = 0; t < steps; ++t)
        evictor.step(q_.slice(prompt + t, 1), k_.slice(prompt + t, 1), v_.slice(prompt + t, 1),
                     nhd(o + t * q_.heads * v_.dim, 1, q_.heads, v_.dim), context);
    give_kept(evictor, kept, width);
}

void EvictionRun::kept_of_prompt(EvictionPolicy& policy, std::optional<float> scale, Context& context) {
    KvCache cache({.kv_heads = k_.heads, .dim = k_.dim, .dim_v = v_.dim, .capacity = tokens()});
    Evictor evictor(cache, policy, {.query_heads = q_.heads, .scale = scale});
    std::int64_t* const kept = args_.output<std::int64_t>("kept", {k_.heads, tokens()});
    evictor.prompt(q_, k_, v_, {}, context);
    give_kept(evictor, kept, tokens());
}

void EvictionRun::give_kept(const Evictor& evictor, std::int64_t* kept, std::int64_t width) const {
    std::fill_n(kept, k_.heads * width, -1);
    for (std::int64_t g = 0; g < k_.heads; ++g) {
        const std::vector<std::int32_t> positions = evictor.kept(g);
        std::copy_n(positions.begin(), std::min(std::ssize(positions), width), kept + g * width);
    }
}

}  // namespace rows

std::span<const Mechanism> kv_rows() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list;
        for (const auto& part : {rows::attention_policy_rows(), rows::weights_policy_rows(), rows::budget_policy_rows(),
                                 rows::key_policy_rows(), rows::storage_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
