// One call of a linear attention with everything it borrows: inputs by name, options, the past.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <algorithm>
#include <any>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "naive.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

using attenta::Context;
using attenta::LinearState;
using Out = attenta::Heads<float>;
struct LinearMechanism;

/// Inputs by the names of their parameters; empty where there are none.
class LinearViews {
public:
    View operator[](std::string_view name) const {
        const auto found = views_.find(name);
        return found == views_.end() ? View{} : found->second;
    }
    View& at(std::string_view name) { return views_.find(name)->second; }
    View& add(const std::string& name, View view) { return views_[name] = view; }
    // A plain array lies along the last axis, a matrix has one head.
    void take(std::string_view name, View& x) const { x = (*this)[name]; }
    void take(std::string_view name, std::span<const float>& x) const {
        const View v = (*this)[name];
        x = {v.data, static_cast<std::size_t>(v.dim)};
    }
    void take(std::string_view name, attenta::Matrices<const float>& x) const {
        const View v = (*this)[name];
        x = {v.data, v.heads, v.tokens, v.dim};
    }

    /// Cases are drawn of floats.
    void take(std::string_view, std::span<const std::int64_t>&) const {}

private:
    std::map<std::string, View, std::less<>> views_;
};

/// The options of any mechanism.
using LinearOptions = std::any;

/// What the rows of an input are.
enum class Along { queries, keys, nothing };

/// Tq = 0 means T queries.
struct LinearShape {
    std::int64_t Hq = 1, Hk = 1, Hv = 1, T = 1, D = 8, Dv = 8, Tq = 0;
};

inline std::ostream& operator<<(std::ostream& out, const LinearShape& s) {
    return out << "Hq " << s.Hq << " Hk " << s.Hk << " Hv " << s.Hv << " T " << s.T << " D " << s.D << " Dv " << s.Dv
               << (s.Tq ? " Tq " + std::to_string(s.Tq) : "");
}

enum class Gates { mild, strong, closed, zero };
inline constexpr const char* gates_names[] = {"mild", "strong", "closed", "zero"};

struct LinearInput {
    Tensor<float> tensor;
    Along along;
};

struct LinearCase {
    LinearCase(const LinearMechanism& m, const LinearShape& s, Gates g, std::uint64_t seed,
               Order rows_order = Order::head_token, std::int64_t rows_pad = 0)
        : mechanism(&m), shape(s), gates(g), random(seed), order(rows_order), pad(rows_pad) {}

    const LinearMechanism* mechanism;
    std::string words;
    LinearShape shape;
    Gates gates;
    Random random;
    Order order;
    std::int64_t pad;
    std::map<std::string, LinearInput, std::less<>> inputs;
    LinearOptions options;
    LinearState past;

    std::int64_t queries() const { return shape.Tq ? shape.Tq : shape.T; }

    /// An input drawn element by element.
    template <class F>
    void put(const std::string& name, Along along, std::int64_t heads, std::int64_t dim, F&& number) {
        const std::int64_t tokens = along == Along::keys ? shape.T : along == Along::queries ? queries() : 1;
        Tensor<float> x(heads, tokens, dim, order, pad);
        x.each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t c = 0; c < dim; ++c) row[c] = number();
        });
        inputs.insert_or_assign(name, LinearInput{std::move(x), along});
    }
    void put_normal(const std::string& name, Along along, std::int64_t heads, std::int64_t dim, float gain = 1) {
        put(name, along, heads, dim, [&] { return gain * random.normal(); });
    }
    /// Rows of length 1.
    void put_units(const std::string& name, Along along, std::int64_t heads, std::int64_t dim, float gain = 1) {
        put_normal(name, along, heads, dim);
        inputs.find(name)->second.tensor.each_row([&](float* row, std::int64_t, std::int64_t) {
            const double norm = std::sqrt(naive_dot(Row(row, row + dim).data(), Row(row, row + dim)));
            for (std::int64_t c = 0; c < dim; ++c) row[c] = static_cast<float>(double{gain} * double{row[c]} / norm);
        });
    }
    void put_uniform(const std::string& name, Along along, std::int64_t heads, std::int64_t dim, double low,
                     double high) {
        put(name, along, heads, dim, [&] { return static_cast<float>(low + (high - low) * random.uniform()); });
    }
    void put_gates(const std::string& name, Along along, std::int64_t heads, std::int64_t dim) {
        put(name, along, heads, dim, [&] { return gate(); });
    }
    /// Numbers without strides.
    void put_array(const std::string& name, std::int64_t rows, std::int64_t cols, const std::vector<float>& numbers) {
        Tensor<float> x(1, rows, cols);
        x.each_row(
            [&](float* row, std::int64_t, std::int64_t t) { std::copy_n(numbers.begin() + t * cols, cols, row); });
        inputs.insert_or_assign(name, LinearInput{std::move(x), Along::nothing});
    }

    float gate() {
        const float mild = -0.1f * std::abs(random.normal());
        const double luck = random.uniform();
        switch (gates) {
            case Gates::mild:
                return mild;
            case Gates::strong:
                return luck < 0.5 ? -20 + random.normal() : mild;
            case Gates::closed:
                return luck < 0.1 ? -std::numeric_limits<float>::infinity() : luck < 0.15 ? -1e4f : mild;
            case Gates::zero:
                return 0;
        }
        return 0;
    }

    LinearViews views() const { return part(0, queries(), 0, shape.T); }
    /// Tokens begin .. begin + count - 1 of a case with as many queries as keys.
    LinearViews views(std::int64_t begin, std::int64_t count) const { return part(begin, count, begin, count); }

    /// The same numbers in other memory, any layout.
    LinearCase copy(Order rows_order = Order::head_token, std::int64_t rows_pad = 0) const {
        LinearCase c(*mechanism, shape, gates, 0, rows_order, rows_pad);
        c.words = words, c.options = options, c.past = past;
        for (const auto& [name, x] : inputs) {
            const bool array = x.along == Along::nothing && x.tensor.view().heads == 1;
            c.inputs.insert_or_assign(
                name, LinearInput{converted<float>(x.tensor.view(), array ? Order::head_token : rows_order,
                                                   array ? 0 : rows_pad),
                                  x.along});
        }
        return c;
    }

    std::int64_t output_heads() const {
        std::int64_t most = 0;
        for (const auto& [name, x] : inputs) most = std::max(most, x.tensor.view().heads);
        return most;
    }

private:
    LinearViews part(std::int64_t query, std::int64_t queries, std::int64_t key, std::int64_t keys) const {
        LinearViews views;
        for (const auto& [name, x] : inputs)
            views.add(name, x.along == Along::keys      ? x.tensor.view().slice(key, keys)
                            : x.along == Along::queries ? x.tensor.view().slice(query, queries)
                                                        : x.tensor.view());
        return views;
    }
};

}  // namespace attenta_test
