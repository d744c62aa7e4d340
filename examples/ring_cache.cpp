// A sliding window in constant memory: a ring of slots for the newest tokens, the first ones kept as sinks.
//
// Each step writes its tokens where the ring has room and attends to all it holds. A full cache under the same mask
// gives the same: masks go by the tokens' own positions, which KvView::ring knows.
#include <attenta/attenta.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

using attenta::KvView;
using attenta::nhd;

namespace {

constexpr std::int64_t heads = 8, kv_heads = 2, dim = 64, sink = 4, window = 128, prompt = 300, tokens = 1000;
constexpr std::int64_t step = 16;                         // tokens of the prompt at a time
constexpr std::int64_t slots = sink + window + step - 1;  // all that the first query of a step sees is still there

std::vector<float> random_values(std::int64_t n, std::mt19937& random) {
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(n));
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    return x;
}

/// Keys or values [slot, head, dim].
struct RingRows {
    std::vector<float> rows = std::vector<float>(slots * kv_heads * dim);

    void write(std::int64_t token, const float* row) {
        std::copy_n(row, kv_heads * dim, rows.data() + KvView::ring_slot(token, slots, sink) * kv_heads * dim);
    }
    attenta::Heads<const float> view() const { return nhd(rows.data(), slots, kv_heads, dim); }
};

}  // namespace

int main() {
    std::mt19937 random(1);
    RingRows k_ring, v_ring;
    std::vector<std::int32_t> positions(slots);
    attenta::KvCache full({.kv_heads = kv_heads, .dim = dim, .capacity = tokens});
    attenta::SoftmaxOptions options;
    options.visible = attenta::Causal{} && (attenta::Window{window - 1, -1} || attenta::Global{sink});

    float worst = 0;
    for (std::int64_t done = 0, n = 0; done < tokens; done += n) {
        n = done < prompt ? std::min(step, prompt - done) : 1;
        const auto q = random_values(n * heads * dim, random), k = random_values(n * kv_heads * dim, random),
                   v = random_values(n * kv_heads * dim, random);
        for (std::int64_t t = 0; t < n; ++t) {
            k_ring.write(done + t, k.data() + t * kv_heads * dim);
            v_ring.write(done + t, v.data() + t * kv_heads * dim);
        }
        full.append(0, nhd(k.data(), n, kv_heads, dim), nhd(v.data(), n, kv_heads, dim));

        const auto queries = nhd(q.data(), n, heads, dim);
        std::vector<float> o(q.size()), want(q.size());
        const KvView ring =
            KvView::ring(k_ring.view(), v_ring.view(), {.sink = sink, .tokens = done + n, .positions = positions});
        attenta::softmax_attention(queries, ring, nhd(o.data(), n, heads, dim), options);
        attenta::softmax_attention(queries, full.view(0), nhd(want.data(), n, heads, dim), options);
        for (std::size_t i = 0; i < o.size(); ++i) worst = std::max(worst, std::abs(o[i] - want[i]));
    }
    std::printf("%d tokens through a ring of %d slots: largest difference to a full cache %.1e\n",
                static_cast<int>(tokens), static_cast<int>(slots), static_cast<double>(worst));
    return worst < 1e-5f ? 0 : 1;
}
