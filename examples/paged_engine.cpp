// An inference engine with its own paged cache: attenta reads the pages where they lie.
//
// Pools of keys and of values are [layer, page, token, head, dim] in bfloat16. A step of three sequences: a prompt, one
// decoded token, and a chunk at the end of a longer prompt.
#include <attenta/attenta.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

using attenta::bfloat16;
using attenta::Heads;
using attenta::KvView;
using attenta::nhd;

namespace {

constexpr std::int64_t layers = 2, heads = 8, kv_heads = 2, dim = 64, page_size = 16, pages = 40, sequences = 3;
constexpr std::int64_t page_stride = page_size * kv_heads * dim, layer_stride = pages * page_stride;

template <class T>
std::vector<T> random_values(std::int64_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<T> x(static_cast<std::size_t>(n));
    std::generate(x.begin(), x.end(), [&] { return T(normal(random)); });
    return x;
}

/// How far, on average, the output `o` of a sequence's last query is from attention over the same rows in one piece.
float difference(const KvView& kv, std::int64_t sequence, Heads<const float> q, Heads<const float> o) {
    const std::int64_t tokens = kv.length(sequence), row = kv_heads * dim;
    std::vector<bfloat16> k(static_cast<std::size_t>(tokens * row)), v(k.size());
    for (std::int64_t t = 0; t < tokens; ++t) {
        const std::byte *k_row = nullptr, *v_row = nullptr;
        kv.locate(sequence, t, 1, &k_row, &v_row);  // all heads of a token lie in one piece
        std::copy_n(reinterpret_cast<const bfloat16*>(k_row), row, k.data() + t * row);
        std::copy_n(reinterpret_cast<const bfloat16*>(v_row), row, v.data() + t * row);
    }
    std::vector<float> want(heads * dim);
    attenta::softmax_attention(q, nhd(k.data(), tokens, kv_heads, dim), nhd(v.data(), tokens, kv_heads, dim),
                               nhd(want.data(), 1, heads, dim));
    float total = 0;
    for (std::size_t i = 0; i < want.size(); ++i) total += std::abs(o.data[i] - want[i]);
    return total / static_cast<float>(want.size());
}

}  // namespace

int main() {
    // What the engine has: two pools, a block table, lengths, and the queries of all sequences, one after the other.
    const auto k_pool = random_values<bfloat16>(layers * layer_stride, 1);
    const auto v_pool = random_values<bfloat16>(layers * layer_stride, 2);
    const std::vector<std::int32_t> lengths{100, 257, 64};  // tokens in the cache, those of this step included
    const std::vector<std::int32_t> q_lengths{100, 1, 16};  // tokens of this step
    const std::int64_t q_tokens = 117, table_stride = 17;
    std::vector<std::int32_t> block_table(sequences * table_stride);
    for (std::size_t i = 0; i < block_table.size(); ++i) block_table[i] = static_cast<std::int32_t>(i * 7 % pages);
    const auto q_values = random_values<float>(layers * q_tokens * heads * dim, 3);
    std::vector<float> o_values(q_values.size());
    std::vector<Heads<const float>> q;
    std::vector<Heads<float>> o;
    for (std::int64_t l = 0; l < layers; ++l) {
        q.push_back(nhd(q_values.data() + l * q_tokens * heads * dim, q_tokens, heads, dim));
        o.push_back(nhd(o_values.data() + l * q_tokens * heads * dim, q_tokens, heads, dim));
    }

    // Once: threads and scratch. Per step: describe the pages, plan. Per layer: run, without checks or allocation.
    attenta::ThreadPool threads(2);
    attenta::Context context(threads);
    const KvView kv =
        KvView::paged(nhd(k_pool.data(), page_size, kv_heads, dim), nhd(v_pool.data(), page_size, kv_heads, dim),
                      {.pages = pages,
                       .page_stride = page_stride,
                       .layer_stride = layer_stride,
                       .block_table = block_table.data(),
                       .table_stride = table_stride,
                       .lengths = lengths.data(),
                       .sequences = sequences});
    const auto plan = attenta::plan_softmax(q[0], q_lengths, kv, {.causal = true}, context);
    for (std::size_t l = 0; l < layers; ++l) plan.run(q[l], kv.at(static_cast<std::int64_t>(l)), o[l]);

    float total = 0;
    for (std::size_t l = 0; l < layers; ++l) {
        std::int64_t last = -1;
        for (std::size_t s = 0; s < sequences; ++s) {
            last += q_lengths[s];
            total += difference(kv.at(static_cast<std::int64_t>(l)), static_cast<std::int64_t>(s), q[l].slice(last, 1),
                                o[l].slice(last, 1));
        }
    }
    std::printf(
        "prefill of 100, decode at 257, chunk of 16 up to 64, in %d layers: difference to contiguous K/V %.1e\n",
        static_cast<int>(layers), static_cast<double>(total));
    return total < 1e-5f ? 0 : 1;
}
