// ggml: one node, flash_attn_ext, that reads our q, K and V where they lie, f32 or f16.
#include "bench/peers/ggml_cpu.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/implementations.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace bench {
namespace {

class Ggml {
public:
    explicit Ggml(const Problem& problem) : problem_(problem), cpu_(static_cast<int>(problem.shape().threads)) {
        const AttendCase& c = problem.shape();

        const attenta::Heads<const float> q = problem.q(0);
        const attenta::KvView kv = problem.kv(0);
        q_ = tensor(GGML_TYPE_F32, 4, q.dim, q.tokens, q.heads, q.token_stride, q.head_stride);
        k_ = tensor(kv, kv.k);
        v_ = tensor(kv, kv.v);
        if (!problem.mask().empty() || (c.causal && c.Tq > 1)) mask();
        o_ = ggml_flash_attn_ext(context_.get(), q_, k_, v_, mask_, 1.0f / std::sqrt(static_cast<float>(c.D)), 0, 0);
        graph_ = ggml_new_graph(context_.get());
        ggml_build_forward_expand(graph_, o_);
    }

    void operator()(std::size_t copy) {
        const attenta::KvView kv = problem_.kv(copy);
        q_->data = const_cast<float*>(problem_.q(copy).data);  // ggml's tensors are never const
        k_->data = const_cast<void*>(kv.k.data);
        v_->data = const_cast<void*>(kv.v.data);
        o_->data = problem_.o(copy).data;
        cpu_.compute(graph_);
    }

private:
    /// [dim, tokens, heads] in ggml's order of dimensions; strides in elements.
    ggml_tensor* tensor(ggml_type type, std::int64_t element, std::int64_t dim, std::int64_t tokens, std::int64_t heads,
                        std::int64_t token_stride, std::int64_t head_stride) const {
        ggml_tensor* t = ggml_new_tensor_3d(context_.get(), type, dim, tokens, heads);
        t->nb[1] = static_cast<std::size_t>(token_stride * element);
        t->nb[2] = static_cast<std::size_t>(head_stride * element);
        t->nb[3] = static_cast<std::size_t>(tokens * heads * dim * element);
        return t;
    }

    ggml_tensor* tensor(const attenta::KvView& kv, const attenta::KvView::Rows& side) const {
        const ggml_type type = side.dtype == attenta::Dtype::f32 ? GGML_TYPE_F32 : GGML_TYPE_F16;
        return tensor(type, attenta::size_of(side.dtype), side.dim, kv.tokens, kv.heads, side.token_stride,
                      side.head_stride);
    }

    /// What is added to the scores, [Tq, Tk]. Tiles that are all -infinity are skipped.
    void mask() {
        const AttendCase& c = problem_.shape();
        if (problem_.mask().empty()) {
            hidden_ = ggml::causal_mask(c.Tq, c.Tk);
        } else {
            for (const auto visible : problem_.mask())
                hidden_.push_back(ggml_fp32_to_fp16(visible ? 0 : -std::numeric_limits<float>::infinity()));
        }
        mask_ = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F16, c.Tk, c.Tq);
        mask_->data = hidden_.data();
    }

    const Problem& problem_;
    ggml::Cpu cpu_;
    std::unique_ptr<ggml_context, ggml::Free> context_ = ggml::context_of_graph();
    ggml_tensor *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *mask_ = nullptr, *o_ = nullptr;
    ggml_cgraph* graph_ = nullptr;
    std::vector<ggml_fp16_t> hidden_;
};

Run prepare(const Problem& problem) {
    return [ggml = std::make_shared<Ggml>(problem)](std::size_t copy) { (*ggml)(copy); };
}

/// Its output is [token, head, dim], which is also [head, token, dim] of one token.
bool supports(const AttendCase& c) {
    return c.dtype != attenta::Dtype::bf16 && (c.layout == Layout::nhd || (c.layout == Layout::hnd && c.Tq == 1));
}

const Added<Implementation> added({"ggml", supports, prepare, widest_isa,
                                   [] { return std::string("ggml ") + ggml_version(); }, true});

}  // namespace
}  // namespace bench
