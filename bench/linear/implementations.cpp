#include "bench/linear/implementations.hpp"

#include "bench/linear/mechanisms.hpp"
#include "bench/ruler/roofline.hpp"

#include <attenta/core/executor.hpp>

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace bench {
namespace {

/// Inputs are found by name here, not in what is timed.
RunLinear prepare_attenta(std::string_view mechanism, const attenta::NamedInputs& x, int threads) {
    struct Worker {
        explicit Worker(int count) : pool(count), context(pool) {}
        attenta::ThreadPool pool;
        attenta::Context context;
    };
    return [worker = std::make_shared<Worker>(threads), run = linear_call(linear_mechanism(mechanism))(x)](
               attenta::Heads<float> o, attenta::LinearState& state) {
        run(o, state, worker->context);
        return o.data;
    };
}

RunLinear prepare_naive(std::string_view mechanism, const attenta::NamedInputs& x, int threads) {
    if (threads != 1) throw std::invalid_argument("naive_eigen: on one thread only");
    return [naive = naive_of(mechanism), in = naive::Inputs(x)](attenta::Heads<float> o, attenta::LinearState& state) {
        if (state.empty()) {
            state = attenta::LinearState(o.heads, o.dim, o.dim);
            state.normalizer.resize(static_cast<std::size_t>(o.heads * o.dim));
        }
        naive(in, o, state);
        return o.data;
    };
}

const std::vector<LinearImplementation>& list() {
    static const std::vector<LinearImplementation> all = with_added<LinearImplementation>({
        {"attenta", [](std::string_view) { return true; }, prepare_attenta, attenta::active_isa, true},
        {"naive_eigen", [](std::string_view mechanism) { return naive_of(mechanism) != nullptr; }, prepare_naive,
         widest_isa, true},
    });
    return all;
}

}  // namespace

const std::vector<LinearImplementation>& linear_implementations() { return list(); }

const LinearImplementation& linear_implementation(std::string_view name) {
    for (const LinearImplementation& known : list())
        if (known.name == name) return known;
    throw std::invalid_argument("no implementation " + std::string(name));
}

}  // namespace bench
