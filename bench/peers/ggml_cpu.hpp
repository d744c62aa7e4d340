// ggml on the CPU: its kernels for this processor, its threads and the memory of a graph.
#pragma once

#include "bench/peers/ggml_api.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench::ggml {

inline void check(bool holds, const char* what) {
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

/// For a few tensors, whose numbers lie elsewhere. Throws where the library has other tensors than ggml_api.hpp.
inline std::unique_ptr<ggml_context, Free> context_of_graph() {
    constexpr std::size_t object = 32;  // what ggml keeps beside a tensor
    check(ggml_tensor_overhead() == object + sizeof(ggml_tensor), "its tensors are not those of ggml_api.hpp");
    std::unique_ptr<ggml_context, Free> context(
        ggml_init({.mem_size = std::size_t{1} << 20, .mem_buffer = nullptr, .no_alloc = true}));
    ggml_tensor* const probe = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 1, 1);
    probe->data = probe;
    check(ggml_get_data(probe) == probe, "its tensors are not those of ggml_api.hpp");
    return context;
}

/// ggml has no causal flag: what is added to the scores [Tq, Tk] of the last Tq of Tk tokens.
inline std::vector<ggml_fp16_t> causal_mask(std::int64_t Tq, std::int64_t Tk) {
    std::vector<ggml_fp16_t> mask(static_cast<std::size_t>(Tq * Tk),
                                  ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity()));
    for (std::int64_t i = 0; i < Tq; ++i) std::fill_n(mask.begin() + i * Tk, Tk - Tq + i + 1, ggml_fp32_to_fp16(0));
    return mask;
}

}  // namespace bench::ggml
