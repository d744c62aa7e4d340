// onnxruntime's own operators, as models for its CPU have them: GroupQueryAttention, which is causal and keeps a cache
// [head, token, dim], and MultiHeadAttention.
#include "bench/peers/onnxruntime_model.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/softmax/implementations.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace bench {
namespace {

using attenta::Dtype;
using ort::Model, ort::Shape;

std::uint64_t count(std::int64_t x) { return static_cast<std::uint64_t>(x); }

class Full {
public:
    explicit Full(const Problem& problem)
        : problem_(problem),
          session_({.op = "MultiHeadAttention",
                    .attributes = {{"num_heads", count(problem.shape().Hq)}},
                    .inputs = {{"q", onnx::Type::f32}, {"k", onnx::Type::f32}, {"v", onnx::Type::f32}},
                    .outputs = {{"o", onnx::Type::f32}}},
                   problem.shape().threads) {}

    void operator()(std::size_t copy) {
        const AttendCase& c = problem_.shape();
        const attenta::KvView kv = problem_.kv(copy);
        session_.input(problem_.q(copy).data, {1, c.Tq, c.Hq * c.D});
        session_.input(kv.k.data, {1, c.Tk, c.Hkv * c.D});
        session_.input(kv.v.data, {1, c.Tk, c.Hkv * c.D});
        session_.output(problem_.o(copy).data, {1, c.Tq, c.Hq * c.D});
        session_.run();
    }

private:
    const Problem& problem_;
    Model session_;
};

/// `bias` is added to the scores.
onnx::Node grouped(const AttendCase& c, bool bias) {
    const onnx::Type type = c.dtype == Dtype::f16 ? onnx::Type::f16 : onnx::Type::f32, i32 = onnx::Type::i32;
    onnx::Node node{
        .op = "GroupQueryAttention",
        .attributes = {{"num_heads", count(c.Hq)}, {"kv_num_heads", count(c.Hkv)}},
        .inputs =
            {{"q", type}, {"k", type}, {"v", type}, {"past_k", type}, {"past_v", type}, {"last", i32}, {"total", i32}},
        .outputs = {{"o", type}, {"present_k", type}, {"present_v", type}}};
    // Behind the cosines, sines and positions of a rotation.
    if (bias) node.inputs.insert(node.inputs.end(), {{"", type}, {"", type}, {"", type}, {"bias", type}});
    return node;
}

class Grouped {
public:
    explicit Grouped(const AttendCase& c, std::span<const std::uint8_t> mask = {})
        : case_(c), session_(grouped(c, !mask.empty()), c.threads) {
        for (const std::uint8_t visible : mask) bias_.push_back(visible ? 0 : -std::numeric_limits<float>::infinity());
    }

    /// q, k, v, o are of the last Tq tokens. Past and present are one cache, so that only k and v are copied to it.
    void operator()(const void* q, const void* k, const void* v, void* cache_k, void* cache_v, void* o) {
        const AttendCase& c = case_;
        const Shape few = {1, c.Tq, c.Hkv * c.D}, cache = {1, c.Hkv, c.Tk, c.D};
        const auto total = static_cast<std::int32_t>(c.Tk);
        const std::int32_t last = total - 1;
        session_.input(q, {1, c.Tq, c.Hq * c.D});
        session_.input(k, few);
        session_.input(v, few);
        session_.input(cache_k, cache);
        session_.input(cache_v, cache);
        session_.input(&last, {1});
        session_.input(&total, {1});
        if (!bias_.empty()) session_.input(bias_.data(), {1, 1, c.Tq, c.Tk});
        session_.output(o, {1, c.Tq, c.Hq * c.D});
        session_.output(cache_k, cache);
        session_.output(cache_v, cache);
        session_.run();
    }

private:
    AttendCase case_;
    Model session_;
    std::vector<float> bias_;
};

/// All tokens at once, to an empty cache.
class Prompt {
public:
    explicit Prompt(const Problem& problem)
        : problem_(problem), attend_(problem.shape(), problem.mask()), k_(cache_size(problem.shape())), v_(k_.size()) {}

    void operator()(std::size_t copy) {
        const attenta::KvView kv = problem_.kv(copy);
        attend_(problem_.q(copy).data, kv.k.data, kv.v.data, k_.data(), v_.data(), problem_.o(copy).data);
    }

private:
    static std::size_t cache_size(const AttendCase& c) { return static_cast<std::size_t>(c.Hkv * c.Tk * c.D); }

    const Problem& problem_;
    Grouped attend_;
    std::vector<float> k_, v_;
};

/// One token, the cache's last, which the operator writes there anew. T is the dtype of all tensors.
template <class T>
class Decode {
public:
    explicit Decode(const Problem& problem) : problem_(problem), attend_(problem.shape()) {}

    void operator()(std::size_t copy) {
        const attenta::Heads<const float> q = problem_.q(copy);
        const attenta::Heads<float> o = problem_.o(copy);
        const attenta::KvView kv = problem_.kv(copy);
        q_.resize(static_cast<std::size_t>(q.heads * q.dim));
        std::transform(q.data, q.data + q_.size(), q_.begin(), [](float x) { return T(x); });
        last_token(kv.k, kv, k_);
        last_token(kv.v, kv, v_);
        o_.resize(q_.size());
        attend_(q_.data(), k_.data(), v_.data(), const_cast<void*>(kv.k.data), const_cast<void*>(kv.v.data), o_.data());
        std::transform(o_.begin(), o_.end(), o.data, [](T x) { return static_cast<float>(x); });
    }

private:
    static void last_token(const attenta::KvView::Rows& side, const attenta::KvView& kv, std::vector<T>& out) {
        out.clear();
        for (std::int64_t h = 0; h < kv.heads; ++h) {
            const T* row =
                static_cast<const T*>(side.data) + h * side.head_stride + (kv.tokens - 1) * side.token_stride;
            out.insert(out.end(), row, row + side.dim);
        }
    }

    const Problem& problem_;
    Grouped attend_;
    std::vector<T> q_, k_, v_, o_;
};

template <class Attend>
Run run_of(const Problem& problem) {
    return [attend = std::make_shared<Attend>(problem)](std::size_t copy) { (*attend)(copy); };
}

Run prepare(const Problem& problem) {
    const AttendCase& c = problem.shape();
    if (c.layout == Layout::nhd) return c.causal ? run_of<Prompt>(problem) : run_of<Full>(problem);
    return c.dtype == Dtype::f16 ? run_of<Decode<attenta::float16>>(problem) : run_of<Decode<float>>(problem);
}

bool supports(const AttendCase& c) {
    if (c.D != c.Dv) return false;
    if (c.layout == Layout::hnd) return c.Tq == 1 && c.dtype != Dtype::bf16;
    return is_dense_f32(c) && c.Tq == c.Tk && (c.causal || c.Hq == c.Hkv);
}

const Added<Implementation> onnxruntime(
    {"onnxruntime", supports, prepare, widest_isa,
     [] { return std::string("onnxruntime ") + ort::OrtGetApiBase()->GetVersionString(); }, true});

}  // namespace
}  // namespace bench
