// The ten lines a newcomer needs: keys and values into a cache, queries in, outputs out.
#include <attenta/attenta.hpp>

#include <cstdio>
#include <vector>

int main() {
    const int heads = 32, kv_heads = 8, tokens = 5, dim = 128;  // 4 query heads share one head of keys and values
    std::vector<float> q(heads * tokens * dim, 0.1f), o(q.size());
    std::vector<float> k(kv_heads * tokens * dim, 0.2f), v(k.size());
    for (std::size_t i = 0; i < v.size(); ++i)
        v[i] = static_cast<float>(i / dim % tokens);  // token t holds the value t

    attenta::KvCache cache({.kv_heads = kv_heads, .dim = dim, .capacity = 4096, .storage = attenta::Dtype::bf16});
    cache.append(0, attenta::hnd(k.data(), kv_heads, tokens, dim), attenta::hnd(v.data(), kv_heads, tokens, dim));
    attenta::softmax_attention(attenta::hnd(q.data(), heads, tokens, dim), cache.view(0),
                               attenta::hnd(o.data(), heads, tokens, dim), {.causal = true});

    // All keys are equal, so each token gets the mean of the values up to its own: 0, 0.5, 1, 1.5, 2.
    for (std::size_t t = 0; t < tokens; ++t) std::printf("token %zu: %.3f\n", t, static_cast<double>(o[t * dim]));
}
