// Calls of recurrences whose channels do not mix: their inputs drawn from their lists, and what all of them must hold.
// A mechanism M has: Inputs, Options, a name; draw(case), which puts inputs; call(inputs, o, state, options, context);
// definition(inputs, options, past) in double precision, and a relative tolerance.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <limits>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compare.hpp"
#include "support/errors.hpp"
#include "support/isas.hpp"
#include "support/random.hpp"
#include "support/tensor.hpp"

namespace attenta_test {

/// In double precision: o [H, T, D] and the state's matrix.
struct NaiveRecurrence {
    std::vector<double> o, state;
};

inline double& at(std::vector<double>& x, std::int64_t i) { return x.data()[i]; }

/// fn(name, view, has tokens) for all inputs that are given.
template <class Inputs, class F>
void each_input(Inputs& x, F&& fn) {
    Inputs::list(
        [&](std::string_view name, auto& view, const attenta::ShapeList& shapes, unsigned = 0) {
            if (view.data) fn(name, view, attenta::ShapeLetters::last_of(shapes.text).tokens == "T");
        },
        x);
}

/// A call with all that it borrows.
template <class M>
struct RecurrenceCase {
    using Inputs = typename M::Inputs;

    RecurrenceCase(std::int64_t heads, std::int64_t tokens, std::int64_t channels, int which = 0,
                   bool with_past = false, std::uint64_t seed = 1, Order rows_order = Order::head_token,
                   std::int64_t rows_pad = 0)
        : H(heads), T(tokens), D(channels), variant(which), random(seed), order(rows_order), pad(rows_pad) {
        M::draw(*this, with_past);
    }
    RecurrenceCase(const RecurrenceCase&) = delete;

    std::int64_t H, T, D;
    int variant;
    Random random;
    Order order;
    std::int64_t pad;
    std::deque<Tensor<float>> memory;
    Inputs x;
    typename M::Options options;
    LinearState past;

    /// An input of normal numbers.
    void put(View& to, std::int64_t heads, std::int64_t rows, std::int64_t columns, float gain = 1) {
        to = memory.emplace_back(random_tensor(random, heads, rows, columns, order, pad, gain)).view();
    }
    /// Logarithms of gates: mild, or in turn mild, strong, closed and open.
    void put_gates(View& to, std::int64_t rows, bool all) {
        put(to, H, rows, D);
        memory.back().each_row([&](float* row, std::int64_t, std::int64_t) {
            for (std::int64_t c = 0; c < D; ++c) {
                const double luck = all ? random.uniform() : 0;
                row[c] = luck < 0.7   ? -0.1f * std::abs(row[c])
                         : luck < 0.8 ? -20 + row[c]
                         : luck < 0.9 ? -std::numeric_limits<float>::infinity()
                                      : 0.f;
            }
        });
    }
    Tensor<float> output() const { return Tensor<float>(H, T, D, order, pad); }

    /// Tokens begin .. begin + count - 1.
    Inputs part(std::int64_t begin, std::int64_t count) const {
        Inputs y = x;
        each_input(y, [&](std::string_view, View& view, bool tokens) {
            if (tokens) view = view.slice(begin, count);
        });
        return y;
    }
    std::string words() const {
        std::ostringstream text;
        text << M::name << ", H " << H << " T " << T << " D " << D << ", variant " << variant
             << (past.empty() ? "" : ", past") << (order == Order::head_token ? "" : ", token-major") << ", pad "
             << pad;
        return text.str();
    }
};

template <class M>
LinearOutput run(const RecurrenceCase<M>& c, Context& context) {
    LinearOutput out{c.output(), c.past};
    M::call(c.x, out.o.view(), out.state, c.options, context);
    return out;
}

/// NaN stands where the definition has it, and other numbers are right.
inline testing::AssertionResult close(const std::vector<float>& got, const std::vector<double>& want, double relative) {
    if (got.size() != want.size())
        return testing::AssertionFailure() << got.size() << " numbers, expected " << want.size();
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double g = double{got[i]}, w = want[i];
        const bool same = std::isnan(w) ? std::isnan(g) : std::abs(g - w) <= relative * (0.1 + std::abs(w)) || g == w;
        if (!same) return testing::AssertionFailure() << "number " << i << " is " << g << ", expected " << w;
    }
    return testing::AssertionSuccess();
}

template <class M>
void expect_definition(const RecurrenceCase<M>& c) {
    const NaiveRecurrence want = M::definition(c.x, c.options, c.past);
    on_every_isa([&](Context& context) {
        const LinearOutput got = run(c, context);
        EXPECT_TRUE(close(rows_of(got.o), want.o, M::tolerance)) << "o, " << c.words();
        EXPECT_TRUE(close(got.state.matrix, want.state, M::tolerance)) << "state, " << c.words();
        EXPECT_TRUE(got.o.padding_is_untouched()) << c.words();
    });
}

/// Awkward widths, lengths and layouts; options in turn, a past by chance where there is one.
template <class M>
void expect_definition_of_all_shapes(int variants, bool has_state = true) {
    std::uint64_t seed = 0;
    for (const std::int64_t T : {1, 2, 3, 7, 16, 17, 33, 64, 150})
        for (const std::int64_t D : {1, 3, 8, 15, 16, 33, 130, 300}) {
            Random random(++seed);
            const Order order = random.chance(0.5) ? Order::head_token : Order::token_head;
            expect_definition(RecurrenceCase<M>(
                random.integer(1, 3), T, D, static_cast<int>(seed % static_cast<std::uint64_t>(variants)),
                has_state && random.chance(0.5), seed, order, random.pick<std::int64_t>({0, 0, 3, 16})));
        }
    for (int variant = 0; variant < variants; ++variant)
        for (const bool past : {false, true})
            expect_definition(RecurrenceCase<M>(2, 40, 21, variant, has_state && past));
}

/// A sequence in two parts, and token by token: no bit changes.
template <class M>
void expect_cuts_change_no_bit(int variants) {
    const auto in_parts = [](const RecurrenceCase<M>& c, std::int64_t length, Context& context, std::int64_t first) {
        LinearOutput all{c.output(), c.past};
        for (std::int64_t begin = 0, count = first; begin < c.T; begin += count, count = length) {
            count = std::min(count, c.T - begin);
            M::call(c.part(begin, count), all.o.view().slice(begin, count), all.state, c.options, context);
        }
        return all;
    };
    on_every_isa([&](Context& context) {
        for (int variant = 0; variant < variants; ++variant)
            for (const bool past : {false, true}) {
                const RecurrenceCase<M> c(2, 23, 19, variant, past);
                const LinearOutput whole = run(c, context);
                for (std::int64_t cut = 1; cut < c.T; ++cut)
                    EXPECT_TRUE(equal_bits(in_parts(c, c.T, context, cut), whole)) << c.words() << ", cut at " << cut;
                EXPECT_TRUE(equal_bits(in_parts(c, 1, context, 1), whole)) << c.words() << ", token by token";
            }
    });
}

/// Layouts, threads and blocks change no bit: one thread takes neighbouring blocks of wide heads in turn, three one by one.
template <class M>
void expect_layouts_and_threads_change_no_bit(int variants) {
    using Shape = std::array<std::int64_t, 3>;
    attenta::ThreadPool pool(3);
    for (int variant = 0; variant < variants; ++variant)
        for (const auto [H, T, D] : {Shape{3, 1, 400}, Shape{3, 50, 400}, Shape{1, 50, 1500}}) {
            const RecurrenceCase<M> c(H, T, D, variant), other(H, T, D, variant, false, 1, Order::token_head, 5);
            Context context, three(pool);
            const LinearOutput want = run(c, context);
            EXPECT_TRUE(equal_bits(run(c, three), want)) << c.words();
            EXPECT_TRUE(equal_bits(run(other, context), want)) << other.words();
        }
}

/// One number of each input is NaN, in the middle and at the end of a row.
template <class M>
void expect_nan_of_the_definition(int variants, bool has_state = true) {
    for (int variant = 0; variant < variants; ++variant) {
        std::vector<std::string> names;
        RecurrenceCase<M> drawn(2, 20, 21, variant);
        each_input(drawn.x, [&](std::string_view name, View&, bool) { names.emplace_back(name); });
        for (const std::string& name : names)
            for (const bool last : {false, true}) {
                RecurrenceCase<M> c(2, 20, 21, variant, has_state);
                each_input(c.x, [&](std::string_view n, View& v, bool) {
                    if (n == name)
                        const_cast<float*>(v.row(v.heads / 2, v.tokens / 2))[last ? v.dim - 1 : v.dim / 2] =
                            std::numeric_limits<float>::quiet_NaN();
                });
                SCOPED_TRACE("NaN in " + name);
                expect_definition(c);
            }
    }
}

template <class M, class Spoil>
testing::AssertionResult refused(std::initializer_list<std::string_view> words, Spoil&& spoil, int variant = 0,
                                 bool past = true) {
    RecurrenceCase<M> c(2, 6, 8, variant, past);
    Tensor<float> memory = c.output();
    Out o = memory.view();
    LinearState state = c.past;
    spoil(c, o, state);
    const std::vector<float> o_before = memory.memory();
    const LinearState state_before = state;
    const auto call = [&] { M::call(c.x, o, state, c.options, attenta::default_context()); };
    testing::AssertionResult result = refuses(call, {M::name});
    if (result) result = refuses(call, words);
    if (!result) return result;
    if (!equal_bits(o_before, memory.memory())) return testing::AssertionFailure() << "o was written";
    return equal_bits(state_before, state);
}

/// Of every input: its sizes, strides and data; of the output.
template <class M>
void expect_errors_of_inputs(int variant, bool has_state = true) {
    using Case = RecurrenceCase<M>;
    struct Given {
        std::string name;
        View view;
        bool tokens;
    };
    std::vector<Given> given;
    Case drawn(2, 6, 8, variant);
    each_input(drawn.x, [&](std::string_view name, View& view, bool tokens) {
        given.push_back({std::string(name), view, tokens});
    });
    constexpr std::int64_t huge = std::int64_t{1} << 62;
    for (const auto& [name, view, tokens] : given) {
        const auto spoiled = [&, &name = name](std::initializer_list<std::string_view> words, auto&& change) {
            const auto spoil = [&](Case& c, Out&, LinearState&) {
                each_input(c.x, [&](std::string_view n, View& v, bool) {
                    if (n == name) change(v, c);
                });
            };
            EXPECT_TRUE((refused<M>(words, spoil, variant, has_state))) << name;
        };
        spoiled({"needs"}, [](View& v, Case&) { --v.dim; });
        spoiled({"0"}, [](View& v, Case&) { v.dim = 0; });
        spoiled({"needs"}, [](View& v, Case&) { ++v.heads; });
        spoiled({"0"}, [](View& v, Case&) { v.heads = 0; });
        if (tokens) spoiled({"5", "6"}, [](View& v, Case&) { v.tokens = 5; });
        if (view.heads > 1) spoiled({name}, [](View& v, Case&) { v.head_stride = huge; });
        spoiled({name}, [](View& v, Case&) { v.head_stride = -1; });
        spoiled({"memory"}, [](View& v, Case&) { v.heads = huge, v.head_stride = 0; });
        spoiled({"memory"}, [](View& v, Case&) { v.dim = huge; });
        spoiled({name, "nan"}, [](View& v, Case& c) {
            c.options.check_data = true;
            const_cast<float*>(v.row(v.heads - 1, v.tokens - 1))[v.dim - 1] = std::numeric_limits<float>::quiet_NaN();
        });
        const bool required = [&, &name = name] {
            bool found = false;
            typename M::Inputs none;
            M::Inputs::list(
                [&](std::string_view n, auto&, const attenta::ShapeList&, unsigned flags = 0) {
                    found = found || (n == name && !(flags & attenta::Input::optional));
                },
                none);
            return found;
        }();
        if (required) spoiled({name, "null"}, [](View& v, Case&) { v.data = nullptr; });
        EXPECT_TRUE((refused<M>(
            {"o", name},
            [&, &name = name](Case& c, Out& o, LinearState&) {
                each_input(c.x, [&](std::string_view n, View& v, bool) {
                    if (n == name) v.data = o.data;
                });
            },
            variant, has_state)));
    }
}

template <class M>
void expect_errors_of_outputs(bool has_state = true) {
    using Case = RecurrenceCase<M>;
    const auto output = [&](std::initializer_list<std::string_view> words, auto&& change) {
        EXPECT_TRUE((refused<M>(
            words, [&](Case&, Out& o, LinearState&) { change(o); }, 0, has_state)));
    };
    output({"o", "null"}, [](Out& o) { o.data = nullptr; });
    output({"o", "5", "6"}, [](Out& o) { o.tokens = 5; });
    output({"o", "3", "2"}, [](Out& o) { o.heads = 3; });
    output({"o", "7", "8"}, [](Out& o) { o.dim = 7; });
    output({"o", "4"}, [](Out& o) { o.token_stride = 4; });
    if (!has_state) return;
    const auto state = [&](std::initializer_list<std::string_view> words, auto&& change) {
        EXPECT_TRUE((refused<M>(words, [&](Case& c, Out& o, LinearState& s) { change(c, o, s); })));
    };
    state({"state", "3", "2"}, [](Case&, Out&, LinearState& s) { s = LinearState(3, s.dim, s.dim_v); });
    state({"state", "7", "8"}, [](Case&, Out&, LinearState& s) { s = LinearState(2, s.dim, 7); });
    state({"state", "9"}, [](Case&, Out&, LinearState& s) { s = LinearState(2, 9, s.dim_v); });
    state({"state", "elements"}, [](Case&, Out&, LinearState& s) { s.matrix.pop_back(); });
    state({"state", "nan"}, [](Case& c, Out&, LinearState& s) {
        c.options.check_data = true;
        s.matrix.back() = std::numeric_limits<float>::quiet_NaN();
    });
}

}  // namespace attenta_test
