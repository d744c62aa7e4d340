// Inputs that a test draws and keeps, and what calls on them gave.
#pragma once

#include <attenta/core/view.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

using attenta::Context, attenta::Heads, attenta::Matrices;

/// Standard normal numbers times `gain`, in memory that lives as long as this; with `pad` tokens come first, with room between rows.
class Drawn {
public:
    explicit Drawn(std::uint64_t seed, std::int64_t pad = 0) : random(seed), pad_(pad) {}

    Heads<const float> heads(std::int64_t h, std::int64_t t, std::int64_t d, float gain = 1) {
        const Order order = pad_ > 0 ? Order::token_head : Order::head_token;
        return tensors_.emplace_back(random_tensor(random, h, t, d, order, pad_, gain)).view();
    }
    Matrices<const float> matrix(std::int64_t rows, std::int64_t columns, float gain = 1) {
        const Heads<float> x =
            tensors_.emplace_back(random_tensor(random, 1, rows, columns, Order::head_token, pad_, gain)).view();
        return {x.data, 1, rows, columns, x.token_stride};
    }
    std::span<const float> vector(std::int64_t n, float gain = 1) {
        std::vector<float>& x = vectors_.emplace_back(random.normals(n));
        for (float& e : x) e *= gain;
        return x;
    }

    Random random;

private:
    std::int64_t pad_;
    std::deque<Tensor<float>> tensors_;
    std::deque<std::vector<float>> vectors_;
};

/// The outputs of a call by name.
using Results = std::map<std::string, std::vector<float>>;
using Wanted = std::map<std::string, std::vector<double>>;

/// An output [heads, tokens, dim] whose rows lie apart.
struct Room {
    Room(std::int64_t h, std::int64_t t, std::int64_t d, std::int64_t pad = 2)
        : tensor(h, t, d, pad > 0 ? Order::token_head : Order::head_token, pad) {}
    const Heads<float>& view() const { return tensor.view(); }
    Matrices<float> matrix() const {
        return {tensor.view().data, 1, tensor.view().tokens, tensor.view().dim, tensor.view().token_stride};
    }
    std::vector<float> rows() const {
        EXPECT_TRUE(tensor.padding_is_untouched());
        std::vector<float> all;
        tensor.each_row(
            [&](const float* row, std::int64_t, std::int64_t) { all.insert(all.end(), row, row + tensor.view().dim); });
        return all;
    }
    bool untouched_so_far() const {
        const std::vector<float> all = rows();
        return std::all_of(all.begin(), all.end(), [](float x) { return std::isnan(x); });
    }

    Tensor<float> tensor;
};

inline void expect_close(const Results& got, const Wanted& want, double absolute = 2e-5, double relative = 2e-4) {
    for (const auto& [name, numbers] : want) {
        const auto found = got.find(name);
        ASSERT_TRUE(found != got.end()) << name;
        ASSERT_EQ(found->second.size(), numbers.size()) << name;
        std::int64_t wrong = 0;
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            const double g = double{found->second[i]}, w = numbers[i];
            const bool equal = g == w || (std::isnan(g) && std::isnan(w));
            if (!equal && !(std::abs(g - w) <= absolute + relative * std::abs(w)) && wrong++ == 0)
                ADD_FAILURE() << name << "[" << i << "] is " << g << ", expected " << w;
        }
        EXPECT_EQ(wrong, 0) << name;
    }
}

/// call(context) on every instruction set equals `want`, with the same bits for one thread and for two.
template <class F>
void expect_everywhere(F&& call, const Wanted& want, double absolute = 2e-5, double relative = 2e-4) {
    Results one_thread;
    on_every_isa([&](Context& context) {
        const Results got = call(context);
        expect_close(got, want, absolute, relative);
        if (context.executor().concurrency() == 1) {
            one_thread = got;
            return;
        }
        for (const auto& [name, numbers] : got)
            EXPECT_TRUE(numbers.empty() ||
                        std::memcmp(numbers.data(), one_thread[name].data(), numbers.size() * sizeof(float)) == 0)
                << name << " depends on the number of threads";
    });
}

}  // namespace attenta_test
