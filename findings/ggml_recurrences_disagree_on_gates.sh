#!/bin/sh
# ggml 0.25.1 (npm package @node-llama-cpp/linux-x64 3.22.1), CPU backend: three recurrences with a gate, one head of 64.
#
# They read the same number differently. For gated_delta_net a gate is a logarithm, so 0 keeps the state and the output has
# a factor 1/sqrt(64) that no argument sets. For gated_linear_attn and rwkv_wkv7 it is the factor itself, so 0 erases the
# state and 1 keeps it; the one takes its scale as an argument, the other has none. Whoever exchanges one for another gets
# plausible numbers. Seen: the first token stores ones, the second one stores nothing and reads them.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent @node-llama-cpp/linux-x64@3.22.1 >/dev/null
tar -xzf ./*.tgz --wildcards --transform 's|.*/||' '*linux*x64/lib*.so*'
ln -s libggml.v*.so libggml.so 2>/dev/null || true
cat > gates.cpp <<'EOF'
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
extern "C" {
struct ggml_init_params { std::size_t mem_size; void* mem_buffer; bool no_alloc; };
void* ggml_init(ggml_init_params);
void ggml_free(void*);
const char* ggml_version();
void* ggml_new_tensor_4d(void*, int type, std::int64_t, std::int64_t, std::int64_t, std::int64_t);
void* ggml_gated_delta_net(void*, void* q, void* k, void* v, void* g, void* beta, void* state, std::int64_t states);
void* ggml_gated_linear_attn(void*, void* k, void* v, void* q, void* g, void* state, float scale);
void* ggml_rwkv_wkv7(void*, void* r, void* g, void* k, void* v, void* a, void* b, void* state);
void* ggml_new_graph(void*);
void ggml_build_forward_expand(void*, void*);
void* ggml_get_data(const void*);
void ggml_backend_load_all_from_path(const char*);
void* ggml_backend_init_by_type(int, const char*);
int ggml_backend_graph_compute(void*, void*);
}
constexpr std::int64_t dim = 64;
// The second token's first output, with this gate on the state that the first token has left.
float output(void* backend, const std::string& name, float gate) {
    void* c = ggml_init({std::size_t{16} << 20, nullptr, false});
    const auto tensor = [&](std::int64_t a, std::int64_t b, std::int64_t t, float first, float second) {
        void* x = ggml_new_tensor_4d(c, 0, a, b, t, 1);
        float* data = static_cast<float*>(ggml_get_data(x));
        std::fill_n(data, a * b, first);
        if (t > 1) std::fill_n(data + a * b, a * b, second);
        return x;
    };
    void *q = tensor(dim, 1, 2, 0, 0), *k = tensor(dim, 1, 2, 0, 0), *v = tensor(dim, 1, 2, 1, 0);
    static_cast<float*>(ggml_get_data(k))[0] = 1;    // the first token's key and
    static_cast<float*>(ggml_get_data(q))[dim] = 1;  // the second one's query are e_0
    void *g = tensor(dim, 1, 2, gate, gate), *zeros = tensor(dim, 1, 2, 0, 0), *row = tensor(dim * dim, 1, 1, 0, 0), *o;
    if (name == "gated_delta_net")
        o = ggml_gated_delta_net(c, q, k, v, tensor(1, 1, 2, gate, gate), tensor(1, 1, 2, 1, 1),
                                 tensor(dim, dim, 1, 0, 0), 1);
    else if (name == "gated_linear_attn")
        o = ggml_gated_linear_attn(c, k, v, q, g, row, 1);
    else
        o = ggml_rwkv_wkv7(c, q, g, k, v, zeros, zeros, row);
    void* graph = ggml_new_graph(c);
    ggml_build_forward_expand(graph, o);
    if (ggml_backend_graph_compute(backend, graph) != 0) return -1;
    const float seen = static_cast<float*>(ggml_get_data(o))[dim];
    ggml_free(c);
    return seen;
}
int main() {
    ggml_backend_load_all_from_path(".");
    void* backend = ggml_backend_init_by_type(0, nullptr);
    std::printf("ggml %s\n", ggml_version());
    for (const char* name : {"gated_delta_net", "gated_linear_attn", "rwkv_wkv7"})
        std::printf("%s: gate 0 gives %g, gate 1 gives %g\n", name, output(backend, name, 0), output(backend, name, 1));
}
EOF
g++ -std=c++17 -O1 gates.cpp ./libggml.so ./libggml-base*.so -Wl,-rpath,"$folder" -o gates
./gates > seen 2> log
cat seen
cat > expected <<'EOF'
ggml 0.25.1
gated_delta_net: gate 0 gives 0.125, gate 1 gives 0.339785
gated_linear_attn: gate 0 gives 0, gate 1 gives 1
rwkv_wkv7: gate 0 gives 0, gate 1 gives 1
EOF
diff expected seen && echo "as described"
