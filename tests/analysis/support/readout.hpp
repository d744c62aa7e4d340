// Read-outs against their definitions, by their lists: outputs of the right sizes, every instruction set, one thread and two, and
// calls that are refused.
#pragma once

#include <attenta/analysis/common/tensors.hpp>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "support/compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

using attenta::Context;
namespace analysis = attenta::analysis;

/// Outputs by name, row-major.
using Values = std::map<std::string, std::vector<double>, std::less<>>;

/// Memory of inputs.
class Memory {
public:
    explicit Memory(std::uint64_t seed = 1) : random(seed) {}

    Random random;

    template <std::size_t rank>
    analysis::DenseTensor<const float, rank> normals(const std::array<std::int64_t, rank>& sizes, float gain = 1) {
        std::vector<float> x = random.normals(count(sizes));
        for (float& e : x) e *= gain;
        return {keep(std::move(x)), sizes};
    }
    /// Rows that sum to 1; of a causal one query i sees keys up to Tk − Tq + i.
    template <std::size_t rank>
    analysis::DenseTensor<const float, rank> weights(const std::array<std::int64_t, rank>& sizes, bool causal = false,
                                                     double sharp = 1.5) {
        std::vector<float> x(static_cast<std::size_t>(count(sizes)));
        const std::int64_t keys = sizes[rank - 1], queries = sizes[rank - 2];
        for (std::int64_t r = 0; r < std::ssize(x) / keys; ++r) {
            const std::int64_t seen = causal ? keys - queries + r % queries + 1 : keys;
            std::vector<double> e(static_cast<std::size_t>(seen));
            for (double& w : e) w = std::exp(sharp * double{random.normal()});
            const double sum = std::accumulate(e.begin(), e.end(), 0.0);
            for (std::int64_t j = 0; j < seen; ++j)
                x[static_cast<std::size_t>(r * keys + j)] = static_cast<float>(e[static_cast<std::size_t>(j)] / sum);
        }
        return {keep(std::move(x)), sizes};
    }
    /// [heads, tokens, dim], token by token with room between the rows.
    attenta::Heads<const float> heads(std::int64_t n, std::int64_t tokens, std::int64_t dim, float gain = 1) {
        return tensors_.emplace_back(random_tensor(random, n, tokens, dim, Order::token_head, 3, gain)).view();
    }
    std::span<const float> vector(std::vector<float> x) {
        const auto n = x.size();
        return {keep(std::move(x)), n};
    }
    std::span<const std::int64_t> indices(std::vector<std::int64_t> x) { return integers_.emplace_back(std::move(x)); }

private:
    template <std::size_t rank>
    static std::int64_t count(const std::array<std::int64_t, rank>& sizes) {
        return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
    }
    const float* keep(std::vector<float> x) { return floats_.emplace_back(std::move(x)).data(); }

    std::deque<std::vector<float>> floats_;
    std::deque<std::vector<std::int64_t>> integers_;
    std::deque<Tensor<float>> tensors_;
};

/// Outputs of a call, with something before and behind each that must stay.
template <auto function>
class Outputs {
    using Function = analysis::Function<function>;
    using Inputs = typename Function::Inputs;
    using List = typename Function::Outputs;

public:
    List list{};

    /// All whose sizes are known, but for `without`; or `alone`.
    Outputs(const Inputs& x, const typename Function::Options& options, std::string_view alone = {},
            std::initializer_list<std::string_view> without = {}) {
        find_sizes(x, options);
        List::list(
            [&](std::string_view name, auto& output, const analysis::TensorShape& shape) {
                std::vector<std::int64_t> sizes;
                for (std::size_t i = 0; i < shape.rank; ++i) sizes.push_back(size_of(shape, i));
                const bool known = std::find(sizes.begin(), sizes.end(), -1) == sizes.end();
                if (!known || std::find(without.begin(), without.end(), name) != without.end()) return;
                add(name, output, sizes, alone.empty() || alone == name);
            },
            list);
    }

    Values values() const {
        Values all;
        for (const Float& f : floats_) all[f.name] = {f.memory.begin() + guard, f.memory.end() - guard};
        for (const Int& n : integers_)
            for (auto e = n.memory.begin() + guard; e != n.memory.end() - guard; ++e)
                all[n.name].push_back(static_cast<double>(*e));
        for (const Rows& r : rows_)
            r.tensor.each_row([&, &to = all[r.name]](float* row, std::int64_t, std::int64_t) {
                to.insert(to.end(), row, row + r.tensor.view().dim);
            });
        return all;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& [name, values] : values()) all.push_back(name);
        return all;
    }
    /// Nothing was written but the outputs themselves, or nothing at all.
    bool only_inside() const { return untouched(false); }
    bool untouched() const { return untouched(true); }

private:
    static constexpr std::int64_t guard = 16;
    static constexpr std::int64_t fresh_integer = 0x5a5a5a5a;

    struct Float {
        std::string name;
        std::vector<float> memory;
    };
    struct Int {
        std::string name;
        std::vector<std::int64_t> memory;
    };
    struct Rows {
        std::string name;
        Tensor<float> tensor;
    };

    void find_sizes(const Inputs& x, const typename Function::Options& options) {
        if constexpr (!analysis::ReadsCache<Inputs>) {
            for (const analysis::Operand& in : analysis::operands(x))
                for (std::size_t i = 0; in.data && i < in.shape.rank; ++i) sizes_[in.shape.letters[i]] = in.sizes[i];
        } else {
            const attenta::InputList inputs(x);
            for (const attenta::Input& in : std::span<const attenta::Input>(inputs)) {
                const auto& shape = in.shapes.shapes[0];
                if (!in.given()) continue;
                sizes_[shape.heads] = in.view.heads;
                if (shape.tokens != 0) sizes_[shape.tokens] = in.view.tokens;
                if (shape.dim != 0) sizes_[shape.dim] = in.view.dim;
            }
        }
        analysis::for_option_sizes<List>(
            [&](std::string_view letter, std::int64_t n) { sizes_[attenta::letter_code(letter)] = n; }, x, options);
    }
    std::int64_t size_of(const analysis::TensorShape& shape, std::size_t i) const {
        const std::uint32_t letter = shape.letters[i];
        if (letter >= '0' && letter <= '9') return letter - '0';
        const auto found = sizes_.find(letter);
        return found == sizes_.end() ? -1 : found->second;
    }
    static std::size_t memory_for(const std::vector<std::int64_t>& sizes) {
        return static_cast<std::size_t>(
            std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>()) + 2 * guard);
    }
    void add(std::string_view name, float*& to, const std::vector<std::int64_t>& sizes, bool wanted) {
        if (!wanted) return;
        floats_.push_back({std::string(name), std::vector<float>(memory_for(sizes), attenta_test::untouched<float>())});
        to = floats_.back().memory.data() + guard;
    }
    void add(std::string_view name, std::int64_t*& to, const std::vector<std::int64_t>& sizes, bool wanted) {
        if (!wanted) return;
        integers_.push_back({std::string(name), std::vector<std::int64_t>(memory_for(sizes), fresh_integer)});
        to = integers_.back().memory.data() + guard;
    }
    void add(std::string_view name, attenta::Heads<float>& to, const std::vector<std::int64_t>& sizes, bool) {
        rows_.push_back({std::string(name), Tensor<float>(sizes[0], sizes[1], sizes[2], Order::token_head, 3)});
        to = rows_.back().tensor.view();
    }
    bool untouched(bool inside_too) const {
        const auto is_fresh = [](float x) {
            return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(attenta_test::untouched<float>());
        };
        const auto fresh = [&](const auto& memory, auto&& same) {
            for (std::int64_t i = 0; i < std::ssize(memory); ++i)
                if ((inside_too || i < guard || i >= std::ssize(memory) - guard) &&
                    !same(memory[static_cast<std::size_t>(i)]))
                    return false;
            return true;
        };
        bool all = true;
        for (const Float& f : floats_) all = all && fresh(f.memory, is_fresh);
        for (const Int& n : integers_) all = all && fresh(n.memory, [](std::int64_t x) { return x == fresh_integer; });
        for (const Rows& r : rows_)
            all = all && (inside_too ? std::all_of(r.tensor.memory().begin(), r.tensor.memory().end(), is_fresh)
                                     : r.tensor.padding_is_untouched());
        return all;
    }

    std::map<std::uint32_t, std::int64_t> sizes_;
    std::deque<Float> floats_;
    std::deque<Int> integers_;
    std::deque<Rows> rows_;
};

/// Two outputs by name; integers equal.
inline testing::AssertionResult close(const Values& got, const Values& want, Tolerance tolerance = {}) {
    for (const auto& [name, expected] : want) {
        const auto found = got.find(name);
        if (found == got.end()) return testing::AssertionFailure() << name << " was not given";
        if (found->second.size() != expected.size())
            return testing::AssertionFailure()
                   << name << " has " << found->second.size() << " numbers, expected " << expected.size();
        for (std::size_t i = 0; i < expected.size(); ++i)
            if (!tolerance.holds(found->second[i], expected[i]))
                return testing::AssertionFailure()
                       << name << "[" << i << "] is " << found->second[i] << ", expected " << expected[i];
    }
    return testing::AssertionSuccess();
}

/// function(x, outputs, options) gives `want` on every instruction set, the same bits for any threads, and each output alone.
template <auto function>
void expect_values(const typename analysis::Function<function>::Inputs& x,
                   const typename analysis::Function<function>::Options& options, const Values& want,
                   Tolerance tolerance = {}, std::initializer_list<std::string_view> without = {}) {
    Values of_one_thread;
    on_every_isa([&](Context& context) {
        Outputs<function> out(x, options, {}, without);
        function(x, out.list, options, context);
        EXPECT_TRUE(out.only_inside());
        const Values got = out.values();
        EXPECT_TRUE(close(got, want, tolerance));
        if (context.executor().concurrency() == 1)
            of_one_thread = got;
        else
            EXPECT_EQ(got, of_one_thread);
    });
    const Outputs<function> sizes(x, options, {}, without);
    for (const std::string& name : sizes.names()) {
        Outputs<function> out(x, options, name, without);
        function(x, out.list, options, attenta::default_context());
        EXPECT_TRUE(close(out.values(), {{name, want.at(name)}}, tolerance)) << "alone";
    }
}

/// function(x, outputs, options) throws Error with these words and writes nothing. The outputs are those of `sizes`.
template <auto function>
testing::AssertionResult refuses_to_write(const typename analysis::Function<function>::Inputs& sizes,
                                          const typename analysis::Function<function>::Options& options,
                                          const typename analysis::Function<function>::Inputs& x,
                                          const typename analysis::Function<function>::Options& wrong,
                                          std::initializer_list<std::string_view> words) {
    Outputs<function> out(sizes, options);
    const auto refused = refuses([&] { function(x, out.list, wrong, attenta::default_context()); }, words);
    if (refused && !out.untouched()) return testing::AssertionFailure() << "something was written";
    return refused;
}
/// Options that are wrong, by `change`.
template <auto function, class Change>
testing::AssertionResult refuses_options(const typename analysis::Function<function>::Inputs& x,
                                         typename analysis::Function<function>::Options options, Change&& change,
                                         std::initializer_list<std::string_view> words) {
    auto wrong = options;
    change(wrong);
    return refuses_to_write<function>(x, options, x, wrong, words);
}
/// Inputs that are wrong, by `change`.
template <auto function, class Change>
testing::AssertionResult refuses_inputs(const typename analysis::Function<function>::Inputs& x,
                                        const typename analysis::Function<function>::Options& options, Change&& change,
                                        std::initializer_list<std::string_view> words) {
    auto wrong = x;
    change(wrong);
    return refuses_to_write<function>(x, options, wrong, options, words);
}

namespace damage {

constexpr std::int64_t endless = std::int64_t{1} << 60;

template <class T>
const T* shifted(const T* p) {
    return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + 1);
}

struct Null {
    void operator()(auto& t) const { t = {}; }
};
struct Misaligned {
    void operator()(std::span<const std::int64_t>& t) const { t = {shifted(t.data()), t.size()}; }
    void operator()(std::span<const float>& t) const { t = {shifted(t.data()), t.size()}; }
    void operator()(auto& t) const { t.data = shifted(t.data); }
};
/// Another size of the last axis.
struct Sized {
    std::int64_t size;

    template <class T>
    void operator()(std::span<const T>& t) const {
        t = {t.data(), static_cast<std::size_t>(size)};
    }
    void operator()(attenta::Heads<const float>& t) const { t.tokens = size; }
    template <class T, std::size_t rank>
    void operator()(analysis::DenseTensor<T, rank>& t) const {
        t.sizes[rank - 1] = size;
    }
};

}  // namespace damage

/// What is wrong with any read-out: inputs that are null, misaligned, of no or of endless size, outputs that meet an input.
template <auto function>
void expect_bad_tensors_refused(const typename analysis::Function<function>::Inputs& good,
                                const typename analysis::Function<function>::Options& options,
                                std::initializer_list<std::string_view> without = {}) {
    using Inputs = typename analysis::Function<function>::Inputs;
    using List = typename analysis::Function<function>::Outputs;
    for (const analysis::Operand& in : analysis::operands(good)) {
        if (!in.data) continue;
        SCOPED_TRACE(in.name);
        const auto refused = [&](auto&& spoil) {
            Inputs bad = good;
            Inputs::list(
                [&](std::string_view other, auto& tensor, const analysis::TensorShape&, unsigned = 0) {
                    if (other == in.name) spoil(tensor);
                },
                bad);
            Outputs<function> out(good, options, {}, without);
            const auto result =
                refuses([&] { function(bad, out.list, options, attenta::default_context()); }, {in.name});
            return result && !out.untouched() ? testing::AssertionFailure() << "something was written" : result;
        };
        if (!in.optional) {
            EXPECT_TRUE(refused(damage::Null{}));
        }
        EXPECT_TRUE(refused(damage::Misaligned{}));
        EXPECT_TRUE(refused(damage::Sized{0}));
        EXPECT_TRUE(refused(damage::Sized{damage::endless}));
        for (const std::string& name : Outputs<function>(good, options, {}, without).names()) {
            const Outputs<function> out(good, options, {}, without);
            List list = out.list;
            List::list(
                [&](std::string_view other, auto& output, const analysis::TensorShape&) {
                    if constexpr (std::is_pointer_v<std::decay_t<decltype(output)>>)
                        if (other == name)
                            output = static_cast<std::decay_t<decltype(output)>>(const_cast<void*>(in.data));
                },
                list);
            EXPECT_TRUE(refuses([&] { function(good, list, options, attenta::default_context()); }, {name, "overlaps"}));
        }
    }
}

}  // namespace attenta_test
