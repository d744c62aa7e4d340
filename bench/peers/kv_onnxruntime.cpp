// onnxruntime's GroupQueryAttention on caches of 8 and 4 bits with a scale for all keys and one for all values.
#include "bench/kv/peers.hpp"
#include "bench/peers/onnxruntime_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using ort::Model, ort::Shape;

onnx::Node node_of(const QuantProblem& p, int bits) {
    constexpr onnx::Type f32 = onnx::Type::f32, i32 = onnx::Type::i32;
    const onnx::Type code = bits == 8 ? onnx::Type::i8 : onnx::Type::u8;
    const std::string quantised = "PER_TENSOR";
    return {.op = "GroupQueryAttention",
            .attributes = {{"num_heads", static_cast<std::uint64_t>(p.q.heads)},
                           {"kv_num_heads", static_cast<std::uint64_t>(p.k.heads)},
                           {"kv_cache_bit_width", static_cast<std::uint64_t>(bits)},
                           {"k_quant_type", quantised},
                           {"v_quant_type", quantised}},
            .inputs = {{"q", f32},
                       {"k", f32},
                       {"v", f32},
                       {"past_k", code},
                       {"past_v", code},
                       {"last", i32},
                       {"total", i32},
                       {"", f32},  // cosines, sines, positions, bias and sinks
                       {"", f32},
                       {"", i32},
                       {"", f32},
                       {"", f32},
                       {"k_scale", f32},
                       {"v_scale", f32}},
            .outputs = {{"o", f32}, {"present_k", code}, {"present_v", code}}};
}

/// Codes from -128 to 127, or two of them from 0 to 15 in a byte, the first one in its low half.
struct Codes {
    Codes(attenta::Heads<const float> x, int bits) {
        const std::int64_t n = x.heads * x.tokens * x.dim;
        float largest = 0;
        for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x.data[i]));
        scale = largest / (bits == 8 ? 127.f : 7.f);
        const auto code = [&](std::int64_t i) { return static_cast<int>(std::lround(x.data[i] / scale)); };
        if (bits == 8)
            for (std::int64_t i = 0; i < n; ++i) bytes.push_back(static_cast<std::uint8_t>(code(i)));
        else
            for (std::int64_t i = 0; i < n; i += 2)
                bytes.push_back(static_cast<std::uint8_t>((code(i) + 8) | (code(i + 1) + 8) << 4));
    }
    float scale = 1;
    std::vector<std::uint8_t> bytes;
};

class QuantisedCache {
public:
    QuantisedCache(const QuantProblem& p, int bits)
        : p_(p), session_(node_of(p, bits), 1), bits_(bits), k_(p.k, bits), v_(p.v, bits) {
        for (std::int64_t t = p.k.tokens - p.q.tokens; t < p.k.tokens; ++t)
            for (std::int64_t h = 0; h < p.k.heads; ++h) {
                newest_k_.insert(newest_k_.end(), p.k.row(h, t), p.k.row(h, t) + p.k.dim);
                newest_v_.insert(newest_v_.end(), p.v.row(h, t), p.v.row(h, t) + p.v.dim);
            }
    }

    /// Past and present are one cache, whose last tokens are written anew.
    void attend() {
        const Shape of_q = {1, p_.q.tokens, p_.q.heads * p_.q.dim}, of_new = {1, p_.q.tokens, p_.k.heads * p_.k.dim},
                    of_cache = {1, p_.k.heads, p_.k.tokens, p_.k.dim * bits_ / 8};
        const auto total = static_cast<std::int32_t>(p_.k.tokens);
        const std::int32_t last = total - 1;
        session_.input(p_.q.data, of_q);
        session_.input(newest_k_.data(), of_new);
        session_.input(newest_v_.data(), of_new);
        session_.input(k_.bytes.data(), of_cache);
        session_.input(v_.bytes.data(), of_cache);
        session_.input(&last, {1});
        session_.input(&total, {1});
        session_.input(&k_.scale, {1});
        session_.input(&v_.scale, {1});
        session_.output(p_.o.data, of_q);
        session_.output(k_.bytes.data(), of_cache);
        session_.output(v_.bytes.data(), of_cache);
        session_.run();
    }

private:
    QuantProblem p_;
    Model session_;
    int bits_;
    Codes k_, v_;
    std::vector<float> newest_k_, newest_v_;
};

template <int bits>
std::function<void()> prepare(const QuantProblem& problem) {
    return [cache = std::make_shared<QuantisedCache>(problem, bits)] { cache->attend(); };
}

const Added<QuantPeer> int8({"onnxruntime", "int8", 8, 0.1, prepare<8>}),
    int4({"onnxruntime", "int4", 4, 1, prepare<4>});

}  // namespace
}  // namespace bench
