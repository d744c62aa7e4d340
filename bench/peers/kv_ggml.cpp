// ggml's flash_attn_ext on caches of its own 8 and 4 bits: blocks of 32 numbers and a half scale.
#include "bench/kv/peers.hpp"
#include "bench/peers/ggml_cpu.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace bench {
namespace {

class QuantisedCache {
public:
    QuantisedCache(const QuantProblem& p, ggml_type type) {
        const std::int64_t Tq = p.q.tokens, Tk = p.k.tokens;
        ggml_tensor* const q = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, p.q.dim, Tq, p.q.heads);
        q->data = const_cast<float*>(p.q.data);  // ggml's tensors are never const
        q->nb[1] = static_cast<std::size_t>(p.q.token_stride) * sizeof(float);
        q->nb[2] = static_cast<std::size_t>(p.q.head_stride) * sizeof(float);
        ggml_tensor* mask = nullptr;
        if (Tq > 1) {
            hidden_ = ggml::causal_mask(Tq, Tk);
            mask = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F16, Tk, Tq);
            mask->data = hidden_.data();
        }
        ggml_tensor* const o =
            ggml_flash_attn_ext(context_.get(), q, quantised(p.k, type, k_), quantised(p.v, type, v_), mask,
                                1 / std::sqrt(static_cast<float>(p.q.dim)), 0, 0);
        o->data = p.o.data;
        graph_ = ggml_new_graph(context_.get());
        ggml_build_forward_expand(graph_, o);
    }

    void attend() { cpu_.compute(graph_); }

private:
    ggml_tensor* quantised(attenta::Heads<const float> x, ggml_type type, std::vector<std::byte>& codes) const {
        ggml_tensor* const t = ggml_new_tensor_3d(context_.get(), type, x.dim, x.tokens, x.heads);
        codes.resize(t->nb[2] * static_cast<std::size_t>(x.heads));
        ggml_quantize_chunk(type, x.data, codes.data(), 0, x.heads * x.tokens, x.dim, nullptr);
        t->data = codes.data();
        return t;
    }

    ggml::Cpu cpu_{1};
    std::unique_ptr<ggml_context, ggml::Free> context_ = ggml::context_of_graph();
    std::vector<std::byte> k_, v_;
    std::vector<ggml_fp16_t> hidden_;
    ggml_cgraph* graph_ = nullptr;
};

template <ggml_type type>
std::function<void()> prepare(const QuantProblem& problem) {
    return [cache = std::make_shared<QuantisedCache>(problem, type)] { cache->attend(); };
}

const Added<QuantPeer> q8({"ggml", "q8_0", 8.5, 0.05, prepare<GGML_TYPE_Q8_0>}),
    q4({"ggml", "q4_0", 4.5, 0.5, prepare<GGML_TYPE_Q4_0>});

}  // namespace
}  // namespace bench
