#!/bin/sh
# ggml 0.25.1 (npm package @node-llama-cpp/linux-x64 3.22.1), CPU backend, flash_attn_ext, one query.
#
# With K and V in float16 and one query, outputs are summed in float16, so the number of threads, which share the keys,
# decides what comes out. n equal keys with values of 1 average to 1. Seen on one thread: 0.5 for 4096 keys, 0.25 for 8192,
# because a half sum of ones stops at 2048; on four threads 1 for both. K and V in float32 give 1 throughout.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent @node-llama-cpp/linux-x64@3.22.1 >/dev/null
tar -xzf ./*.tgz --wildcards --transform 's|.*/||' '*linux*x64/lib*.so*'
ln -s libggml.v*.so libggml.so 2>/dev/null || true
cat > sums.cpp <<'EOF'
#include <cstdint>
#include <cstdio>
#include <vector>
extern "C" {
struct ggml_init_params { std::size_t mem_size; void* mem_buffer; bool no_alloc; };
void* ggml_init(ggml_init_params);
void ggml_free(void*);
const char* ggml_version();
std::uint16_t ggml_fp32_to_fp16(float);
void* ggml_new_tensor_3d(void*, int type, std::int64_t, std::int64_t, std::int64_t);
void* ggml_flash_attn_ext(void*, void* q, void* k, void* v, void* mask, float scale, float max_bias, float cap);
void* ggml_new_graph(void*);
void ggml_build_forward_expand(void*, void*);
void* ggml_get_data(const void*);
void ggml_backend_load_all_from_path(const char*);
void* ggml_backend_init_by_type(int, const char*);
int ggml_backend_graph_compute(void*, void*);
void* ggml_backend_get_device(void*);
void* ggml_backend_dev_backend_reg(void*);
void* ggml_backend_reg_get_proc_address(void*, const char*);
}
// The average of n equal values of 1, K and V in `type` (0: float32, 1: float16).
float average(void* backend, int type, std::int64_t n) {
    constexpr std::int64_t dim = 64;
    void* context = ggml_init({std::size_t{64} << 20, nullptr, false});
    void *q = ggml_new_tensor_3d(context, 0, dim, 1, 1), *k = ggml_new_tensor_3d(context, type, dim, n, 1),
         *v = ggml_new_tensor_3d(context, type, dim, n, 1);
    for (std::int64_t i = 0; i < dim; ++i) static_cast<float*>(ggml_get_data(q))[i] = 1;
    for (std::int64_t i = 0; i < dim * n; ++i)
        if (type == 0) {
            static_cast<float*>(ggml_get_data(k))[i] = 0;
            static_cast<float*>(ggml_get_data(v))[i] = 1;
        } else {
            static_cast<std::uint16_t*>(ggml_get_data(k))[i] = ggml_fp32_to_fp16(0);
            static_cast<std::uint16_t*>(ggml_get_data(v))[i] = ggml_fp32_to_fp16(1);
        }
    void* o = ggml_flash_attn_ext(context, q, k, v, nullptr, 0.125f, 0, 0);
    void* graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, o);
    if (ggml_backend_graph_compute(backend, graph) != 0) return -1;
    const float first = static_cast<float*>(ggml_get_data(o))[0];
    ggml_free(context);
    return first;
}
int main() {
    ggml_backend_load_all_from_path(".");
    void* backend = ggml_backend_init_by_type(0, nullptr);
    void* set_threads = ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(ggml_backend_get_device(backend)), "ggml_backend_set_n_threads");
    std::printf("ggml %s\n", ggml_version());
    for (const int threads : {1, 4})
        for (const int n : {1024, 2048, 4096, 8192}) {
            reinterpret_cast<void (*)(void*, int)>(set_threads)(backend, threads);
            std::printf("%d threads, %d keys: float32 %g, float16 %g\n", threads, n, average(backend, 0, n),
                        average(backend, 1, n));
        }
}
EOF
g++ -std=c++17 -O1 sums.cpp ./libggml.so ./libggml-base*.so -Wl,-rpath,"$folder" -o sums
./sums > seen 2> log
cat seen
cat > expected <<'EOF'
ggml 0.25.1
1 threads, 1024 keys: float32 1, float16 1
1 threads, 2048 keys: float32 1, float16 1
1 threads, 4096 keys: float32 1, float16 0.5
1 threads, 8192 keys: float32 1, float16 0.25
4 threads, 1024 keys: float32 1, float16 1
4 threads, 2048 keys: float32 1, float16 1
4 threads, 4096 keys: float32 1, float16 1
4 threads, 8192 keys: float32 1, float16 1
EOF
diff expected seen && echo "as described"
