#include "quality.hpp"

#include <cmath>
#include <vector>

#include "exact.hpp"

namespace compare {

namespace {

using attenta::Tensor;
using attenta::Tensors;

std::optional<double> relative_error(const std::vector<float>& got, const std::vector<float>& want) {
    double off = 0, size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        off += std::pow(static_cast<double>(got[i]) - want[i], 2);
        size += std::pow(static_cast<double>(want[i]), 2);
    }
    return size > 0 && std::isfinite(off) ? std::optional(std::sqrt(off / size)) : std::nullopt;
}

}  // namespace

const Tensor* find(const Tensors& tensors, const std::string& name) {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : &found->second;
}

Quality quality_of(const Setup& s, const Tensors& outputs) {
    Quality quality;
    if (s.exact == Exact::none) return quality;
    const Tensor* const o = find(outputs, "o");
    const std::vector<std::int64_t> shape{s.source.q.heads, s.Tq, s.source.v.dim};
    if (!o || o->shape != shape) return quality;
    const ExactAttention exact = exact_attention(s.source, s.end, s.Tq, s.exact == Exact::causal);
    quality.error = relative_error(o->to_float(), exact.o.values);
    const Tensor* const lse = find(outputs, "lse");
    if (!s.has_mass || !lse || lse->size() != std::ssize(exact.lse)) return quality;
    double sum = 0;
    for (std::size_t i = 0; const float x : lse->to_float()) sum += std::exp(static_cast<double>(x) - exact.lse[i++]);
    if (std::isfinite(sum)) quality.mass = sum / static_cast<double>(exact.lse.size());
    return quality;
}

std::optional<double> error_of_steps(const Setup& s, std::int64_t steps, const Tensor& o) {
    const std::int64_t heads = s.source.q.heads, dim = s.source.v.dim;
    if (s.exact == Exact::none || o.shape != std::vector{steps, heads, dim}) return std::nullopt;
    const ExactAttention exact = exact_attention(s.source, s.end, steps, true);
    std::vector<float> want;
    for (std::int64_t t = 0; t < steps; ++t)
        for (std::int64_t h = 0; h < heads; ++h) want.insert(want.end(), exact.o.row(h, t), exact.o.row(h, t) + dim);
    return relative_error(o.to_float(), want);
}

double mass_of_kept(const Setup& s, const Tensor& kept) {
    const Source& source = s.source;
    const ExactAttention exact = exact_attention(source, s.end, 1, true);
    const std::int64_t width = kept.shape[1], group = source.q.heads / source.k.heads;
    const double scale = 1 / std::sqrt(static_cast<double>(source.q.dim));
    const auto positions = kept.as<std::int64_t>();
    double sum = 0;
    for (std::int64_t h = 0; h < source.q.heads; ++h) {
        const float* const q = source.q.row(h, s.end - 1);
        for (const std::int64_t p :
             positions.subspan(static_cast<std::size_t>(h / group * width), static_cast<std::size_t>(width))) {
            if (p < 0 || p >= s.end) continue;
            double dot = 0;
            for (std::int64_t d = 0; d < source.q.dim; ++d)
                dot += static_cast<double>(q[d]) * source.k.row(h / group, p)[d];
            sum += std::exp(scale * dot - exact.lse[static_cast<std::size_t>(h)]);
        }
    }
    return sum / static_cast<double>(source.q.heads);
}

}  // namespace compare
