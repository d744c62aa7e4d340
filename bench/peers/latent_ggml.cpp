// ggml's flash_attn_ext as llama.cpp calls it for DeepSeek's models: one head of keys, whose first numbers are the values.
#include "bench/latent/peers.hpp"
#include "bench/peers/ggml_cpu.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace bench {
namespace {

class LatentAttention {
public:
    explicit LatentAttention(const LatentProblem& problem) : problem_(problem) {
        const std::int64_t dim = problem.q.dim, keys = problem.layers[0].tokens;
        ggml_tensor* const q = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, dim, 1, problem.q.heads);
        q->data = const_cast<float*>(problem.q.data);  // ggml's tensors are never const
        k_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, dim, keys, 1);
        v_ = ggml_new_tensor_3d(context_.get(), GGML_TYPE_F32, problem.o.dim, keys, 1);
        v_->nb[1] = k_->nb[1], v_->nb[2] = k_->nb[2], v_->nb[3] = k_->nb[3];
        ggml_tensor* const o = ggml_flash_attn_ext(context_.get(), q, k_, v_, nullptr, problem.scale, 0, 0);
        o->data = problem.o.data;
        graph_ = ggml_new_graph(context_.get());
        ggml_build_forward_expand(graph_, o);
    }

    void attend(std::size_t layer) {
        k_->data = v_->data = const_cast<float*>(problem_.layers[layer].data);
        cpu_.compute(graph_);
    }

private:
    LatentProblem problem_;
    ggml::Cpu cpu_{1};
    std::unique_ptr<ggml_context, ggml::Free> context_ = ggml::context_of_graph();
    ggml_tensor *k_ = nullptr, *v_ = nullptr;
    ggml_cgraph* graph_ = nullptr;
};

const Added<LatentPeer> added({"ggml", [](const LatentProblem& problem) -> std::function<void(std::size_t)> {
                                   const auto peer = std::make_shared<LatentAttention>(problem);
                                   return [peer](std::size_t layer) { peer->attend(layer); };
                               }});

}  // namespace
}  // namespace bench
