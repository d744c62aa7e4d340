// How the benchmarks of sparse attention call a mechanism: by its function and options, with tensors of its own and what its
// selection costs from a lambda. What is the same for all is here.
#pragma once

#include "bench/sparse/works.hpp"

#include <attenta/attenta.hpp>
#include <attenta/sparse.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace bench {

using Prepare = std::function<SparseWork(const Problem& problem, attenta::Context& context)>;

/// What a mechanism reads beside q, K and V, which lives as long as its work, and what the work costs.
class Setup {
public:
    explicit Setup(const AttendCase& shape) : c(shape) {}

    const AttendCase c;
    SparseWork work;

    /// Standard normal numbers, uniform ones of [0, 1), or `value` everywhere.
    attenta::Heads<const float> normal(std::int64_t heads, std::int64_t tokens, std::int64_t dim) {
        std::normal_distribution<float> numbers;
        return fill(heads, tokens, dim, [&] { return numbers(random_); });
    }
    attenta::Heads<const float> uniform(std::int64_t heads, std::int64_t tokens, std::int64_t dim = 1) {
        std::uniform_real_distribution<float> numbers;
        return fill(heads, tokens, dim, [&] { return numbers(random_); });
    }
    attenta::Heads<const float> constant(float value, std::int64_t heads, std::int64_t tokens, std::int64_t dim = 1) {
        return fill(heads, tokens, dim, [&] { return value; });
    }
    attenta::Matrices<const float> rows(std::int64_t count, std::int64_t dim) {
        return {normal(1, count, dim).data, 1, count, dim};
    }
    /// number(i) of 0 .. n - 1.
    template <class Number>
    std::span<const std::int64_t> integers(std::int64_t n, Number&& number) {
        std::vector<std::int64_t> x;
        for (std::int64_t i = 0; i < n; ++i) x.push_back(number(i));
        return keep(std::move(x));
    }
    std::int64_t any(std::int64_t below) { return static_cast<std::int64_t>(random_()) % below; }
    template <class T>
    T& keep(T x) {
        const auto kept = std::make_shared<T>(std::move(x));
        kept_.push_back(kept);
        return *kept;
    }

private:
    template <class Number>
    attenta::Heads<const float> fill(std::int64_t heads, std::int64_t tokens, std::int64_t dim, Number&& number) {
        std::vector<float>& x = keep(std::vector<float>(static_cast<std::size_t>(heads * tokens * dim)));
        for (float& e : x) e = number();
        return attenta::hnd(std::as_const(x).data(), heads, tokens, dim);
    }

    std::mt19937 random_{3};
    std::deque<std::shared_ptr<void>> kept_;
};

/// Adds visible pairs and the rows of K that they are of. Of causal works keys after the query do not count.
void count(SparseWork& work, const attenta::KeyLists& lists, const AttendCase& c);

/// `pairs` of all query heads, whose rows of K the heads of a group share.
void count_shared(SparseWork& work, double pairs, const AttendCase& c);

struct Nothing {
    void operator()(auto&&...) const {}
};

/// function({q, kv, ...}, out, options). fill(inputs, setup) adds the other inputs; without pairs from it they are counted on
/// the lists that the call gives. `select` takes (inputs, lists, options, context).
template <auto function, class Fill = Nothing, class Select = Nothing>
Prepare call(const typename attenta::SparseFunction<function>::Options& options = {}, Fill fill = {},
             Select select = {}) {
    using Inputs = typename attenta::SparseFunction<function>::Inputs;
    return [=](const Problem& p, attenta::Context& context) {
        const auto setup = std::make_shared<Setup>(p.shape());
        Inputs first;
        first.q = p.q(0);
        first.kv = p.kv(0);
        fill(first, *setup);
        const auto inputs = [&p, first](std::size_t copy) {
            Inputs x = first;
            x.q = p.q(copy);
            x.kv = p.kv(copy);
            return x;
        };
        const auto attend = [=, &p, &context](std::size_t copy, attenta::KeyLists* lists) {
            typename attenta::SparseFunction<function>::Outputs out{};
            out.o = p.o(copy);
            out.lists = lists;
            function(inputs(copy), out, options, context);
        };
        SparseWork work = std::exchange(setup->work, {});
        work.kept = setup;
        if (work.pairs == 0) {
            attenta::KeyLists lists;
            attend(0, &lists);
            count(work, lists, p.shape());
        }
        work.run = [attend](std::size_t copy) { attend(copy, nullptr); };
        if constexpr (!std::is_same_v<Select, Nothing>)
            work.select = [=, &context](std::size_t copy) {
                attenta::KeyLists lists;
                select(inputs(copy), lists, options, context);
            };
        return work;
    };
}

}  // namespace bench
