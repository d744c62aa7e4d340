// One call of an attention with everything that it borrows: inputs by name, options. For mechanisms that list their inputs
// (engine/common/inputs.hpp), whatever their family.
#pragma once

#include <attenta/engine/common/inputs.hpp>
#include <attenta/softmax/common.hpp>

#include <any>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/random.hpp"
#include "support/shapes.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

using attenta::Context;
using attenta::KvView;
struct AttentionMechanism;

/// A dense tensor of integers [heads, tokens, dim]; a matrix is [1, rows, columns], a vector [1, 1, size].
struct Integers {
    std::int64_t heads = 1, tokens = 1, dim = 0;
    std::vector<std::int64_t> data;
};

struct AttentionCase {
    AttentionCase(const AttentionMechanism& m, const Shape& s, std::uint64_t seed)
        : mechanism(&m), shape(s), random(seed) {
        sizes = {{"Hq", s.Hq}, {"Hkv", s.Hkv}, {"Tq", s.Tq}, {"Tk", s.Tk},
                 {"T", s.Tk},  {"D", s.D},     {"Dv", s.Dv}, {"D/2", s.D / 2}};
    }

    const AttentionMechanism* mechanism;
    std::string words;
    Shape shape;
    std::map<std::string, std::int64_t, std::less<>> sizes;  ///< of letters
    Random random;
    std::any options;
    std::map<std::string, Tensor<float>, std::less<>>
        floats;  ///< a matrix is [1, rows, columns], a vector [1, 1, size]
    std::map<std::string, Integers, std::less<>> integers;
    std::map<std::string, KvView, std::less<>> caches;  ///< in place of the tensors of K and V, by the name of K

    // Borrowed by the options.
    std::unique_ptr<bool[]> mask;
    std::vector<std::int64_t> segment_q, segment_k;

    /// Standard normal numbers times `gain`.
    void put(const std::string& name, std::int64_t heads, std::int64_t tokens, std::int64_t dim, float gain = 1,
             Order order = Order::head_token, std::int64_t pad = 0) {
        floats.insert_or_assign(name, random_tensor(random, heads, tokens, dim, order, pad, gain));
    }
    void put_integers(const std::string& name, std::vector<std::int64_t> x) {
        const auto n = static_cast<std::int64_t>(x.size());
        integers.insert_or_assign(name, Integers{1, 1, n, std::move(x)});
    }
    attenta::Heads<float>& view(std::string_view name) {
        return const_cast<attenta::Heads<float>&>(floats.find(name)->second.view());
    }
};

/// Fills a mechanism's struct of inputs.
struct BindInputs {
    const AttentionCase* from;

    void operator()(std::string_view name, attenta::Heads<const float>& x, const char*, unsigned = 0) const {
        if (const auto* t = find(name)) x = t->view();
    }
    void operator()(std::string_view name, attenta::Matrices<const float>& x, const char*, unsigned = 0) const {
        if (const auto* t = find(name)) {
            const auto& v = t->view();
            x = {v.data, v.heads, v.tokens, v.dim, v.token_stride};
        }
    }
    void operator()(std::string_view name, std::span<const float>& x, const char*, unsigned = 0) const {
        if (const auto* t = find(name)) x = {t->view().data, static_cast<std::size_t>(t->view().dim)};
    }
    void operator()(std::string_view name, attenta::Matrices<const std::int64_t>& x, const char*, unsigned = 0) const {
        if (const Integers* t = integers(name)) x = {t->data.data(), t->heads, t->tokens, t->dim};
    }
    void operator()(std::string_view name, std::span<const std::int64_t>& x, const char*, unsigned = 0) const {
        if (const Integers* t = integers(name)) x = t->data;
    }
    void operator()(std::string_view k, std::string_view v, KvView& kv, const char*, const char*, unsigned = 0) const {
        if (const auto found = from->caches.find(k); found != from->caches.end())
            kv = found->second;
        else if (const auto* t = find(k))
            kv = KvView::of(attenta::Heads<const float>(t->view()), attenta::Heads<const float>(find(v)->view()));
    }

private:
    const Tensor<float>* find(std::string_view name) const {
        const auto found = from->floats.find(name);
        return found == from->floats.end() ? nullptr : &found->second;
    }
    const Integers* integers(std::string_view name) const {
        const auto found = from->integers.find(name);
        return found == from->integers.end() ? nullptr : &found->second;
    }
};

template <class Inputs>
Inputs inputs_of(const AttentionCase& c) {
    Inputs x;
    Inputs::list(BindInputs{&c}, x);
    return x;
}

template <class Options>
Options& options_of(AttentionCase& c) {
    return std::any_cast<Options&>(c.options);
}

}  // namespace attenta_test
