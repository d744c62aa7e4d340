// The few functions of ggml's C API that the peer calls: packages bring the libraries without headers. ggml_tensor is as
// it is since 2024; whoever uses it checks tensor_overhead, so that a library with another one is refused.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct ggml_backend;
struct ggml_backend_device;
struct ggml_backend_reg;
struct ggml_cgraph;
struct ggml_context;
struct ggml_threadpool;

using ggml_fp16_t = std::uint16_t;
enum ggml_type : int {
    GGML_TYPE_F32 = 0,
    GGML_TYPE_F16 = 1,
    GGML_TYPE_Q4_0 = 2,
    GGML_TYPE_Q8_0 = 8,
    GGML_TYPE_I32 = 26
};

struct ggml_init_params {
    std::size_t mem_size;
    void* mem_buffer;
    bool no_alloc;
};

struct ggml_tensor {
    ggml_type type;
    void* buffer;
    std::int64_t ne[4];  // sizes, the innermost first
    std::size_t nb[4];   // strides in bytes
    int op;
    std::int32_t op_params[16];
    std::int32_t flags;
    ggml_tensor* src[10];
    ggml_tensor* view_src;
    std::size_t view_offs;
    void* data;
    char name[64];
    void* extra;
    char padding[8];
};

ggml_context* ggml_init(ggml_init_params params);
void ggml_free(ggml_context* context);
const char* ggml_version();
std::size_t ggml_tensor_overhead();
void* ggml_get_data(const ggml_tensor* tensor);
ggml_fp16_t ggml_fp32_to_fp16(float x);
std::size_t ggml_quantize_chunk(ggml_type type, const float* from, void* to, std::int64_t first, std::int64_t rows,
                                std::int64_t row, const float* importance);
ggml_tensor* ggml_new_tensor_2d(ggml_context* context, ggml_type type, std::int64_t ne0, std::int64_t ne1);
ggml_tensor* ggml_new_tensor_3d(ggml_context* context, ggml_type type, std::int64_t ne0, std::int64_t ne1,
                                std::int64_t ne2);
ggml_tensor* ggml_flash_attn_ext(ggml_context* context, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v,
                                 ggml_tensor* mask, float scale, float max_bias, float logit_softcap);
ggml_tensor* ggml_new_tensor_4d(ggml_context* context, ggml_type type, std::int64_t ne0, std::int64_t ne1,
                                std::int64_t ne2, std::int64_t ne3);
// Recurrences, whose outputs are those of the tokens and, behind them, the state after the last.
ggml_tensor* ggml_gated_delta_net(ggml_context* context, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v, ggml_tensor* g,
                                  ggml_tensor* beta, ggml_tensor* state, std::int64_t states);
ggml_tensor* ggml_gated_linear_attn(ggml_context* context, ggml_tensor* k, ggml_tensor* v, ggml_tensor* q,
                                    ggml_tensor* g, ggml_tensor* state, float scale);
ggml_tensor* ggml_rwkv_wkv6(ggml_context* context, ggml_tensor* k, ggml_tensor* v, ggml_tensor* r, ggml_tensor* u,
                            ggml_tensor* decay, ggml_tensor* state);
ggml_tensor* ggml_rwkv_wkv7(ggml_context* context, ggml_tensor* r, ggml_tensor* decay, ggml_tensor* k, ggml_tensor* v,
                            ggml_tensor* a, ggml_tensor* b, ggml_tensor* state);
ggml_tensor* ggml_ssm_scan(ggml_context* context, ggml_tensor* state, ggml_tensor* x, ggml_tensor* dt, ggml_tensor* A,
                           ggml_tensor* B, ggml_tensor* C, ggml_tensor* ids, std::int64_t states);
ggml_cgraph* ggml_new_graph(ggml_context* context);
void ggml_build_forward_expand(ggml_cgraph* graph, ggml_tensor* tensor);
void ggml_log_set(void (*log)(int level, const char* text, void* data), void* data);
void ggml_threadpool_params_init(void* params, int threads);

/// Registers the backends among the libraries of a folder, of those for the CPU the best for this one.
void ggml_backend_load_all_from_path(const char* folder);
ggml_backend* ggml_backend_init_by_type(int device_type, const char* params);
void ggml_backend_free(ggml_backend* backend);
ggml_backend_device* ggml_backend_get_device(ggml_backend* backend);
ggml_backend_reg* ggml_backend_dev_backend_reg(ggml_backend_device* device);
void* ggml_backend_reg_get_proc_address(ggml_backend_reg* reg, const char* name);
int ggml_backend_graph_compute(ggml_backend* backend, ggml_cgraph* graph);

}  // extern "C"
