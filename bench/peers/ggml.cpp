// ggml: one node, flash_attn_ext, that reads our q, K and V where they lie, f32 or f16.
#include "bench/peers/ggml_api.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/implementations.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {
namespace {

void check(bool holds, const char* what) {
    if (!holds) throw std::runtime_error(std::string("ggml: ") + what);
}

/// ggml's kernels for this processor and their threads. Only the library that is chosen at run time has the functions for
/// threads.
class Cpu {
public:
    explicit Cpu(int threads) {
        ggml_log_set([](int, const char*, void*) {}, nullptr);
        [[maybe_unused]] static const bool loaded = (ggml_backend_load_all_from_path(ATTENTA_GGML_DIR), true);
        constexpr int cpu_device = 0;
        backend_ = ggml_backend_init_by_type(cpu_device, nullptr);
        check(backend_, "no backend for the CPU");
        alignas(std::max_align_t) char params[4096];  // of a ggml_threadpool_params, which has some 530
        ggml_threadpool_params_init(params, threads);
        pool_ = function<ggml_threadpool*(void*)>("ggml_threadpool_new")(params);
        check(pool_, "no threads");
        function<void(ggml_backend*, int)>("ggml_backend_set_n_threads")(backend_, threads);
        function<void(ggml_backend*, ggml_threadpool*)>("ggml_backend_cpu_set_threadpool")(backend_, pool_);
    }
    Cpu(const Cpu&) = delete;
    Cpu& operator=(const Cpu&) = delete;
    ~Cpu() {
        const auto free_pool = function<void(ggml_threadpool*)>("ggml_threadpool_free");
        ggml_backend_free(backend_);
        free_pool(pool_);
    }

    void compute(ggml_cgraph* graph) { check(ggml_backend_graph_compute(backend_, graph) == 0, "failed"); }

private:
    template <class Function>
    Function* function(const char* name) const {
        ggml_backend_reg* const reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend_));
        void* const address = ggml_backend_reg_get_proc_address(reg, name);
        check(address, name);
        return reinterpret_cast<Function*>(address);
    }

    ggml_backend* backend_ = nullptr;
    ggml_threadpool* pool_ = nullptr;
};

struct Free {
    void operator()(ggml_context* p) const { ggml_free(p); }
};

class Ggml {
public:
    explicit Ggml(const Problem& problem) : problem_(problem), cpu_(static_cast<int>(problem.shape().threads)) {
        constexpr std::size_t object = 32;  // what ggml keeps beside a tensor
        check(ggml_tensor_overhead() == object + sizeof(ggml_tensor), "its tensors are not those of ggml_api.hpp");
        const AttendCase& c = problem.shape();
        context_.reset(ggml_init({.mem_size = std::size_t{1} << 20, .mem_buffer = nullptr, .no_alloc = true}));

        const attenta::Heads<const float> q = problem.q(0);
        const attenta::KvView kv = problem.kv(0);
        q_ = tensor(GGML_TYPE_F32, 4, q.dim, q.tokens, q.heads, q.token_stride, q.head_stride);
        q_->data = this;
        check(ggml_get_data(q_) == this, "its tensors are not those of ggml_api.hpp");
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

    /// ggml has no causal flag: what is added to the scores, [Tq, Tk]. Tiles that are all -infinity are skipped.
    void mask() {
        const AttendCase& c = problem_.shape();
        const ggml_fp16_t hidden = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity()),
                          visible = ggml_fp32_to_fp16(0);
        hidden_.assign(static_cast<std::size_t>(c.Tq * c.Tk), hidden);
        for (std::int64_t i = 0; i < c.Tq && problem_.mask().empty(); ++i)
            std::fill_n(hidden_.begin() + i * c.Tk, c.Tk - c.Tq + i + 1, visible);
        for (std::size_t n = 0; n < problem_.mask().size(); ++n)
            if (problem_.mask()[n]) hidden_[n] = visible;
        mask_ = ggml_new_tensor_2d(context_.get(), GGML_TYPE_F16, c.Tk, c.Tq);
        mask_->data = hidden_.data();
    }

    const Problem& problem_;
    Cpu cpu_;
    std::unique_ptr<ggml_context, Free> context_;
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

const AddImplementation ggml({"ggml", supports, prepare, widest_isa,
                              [] { return std::string("ggml ") + ggml_version(); }, true});

}  // namespace
}  // namespace bench
