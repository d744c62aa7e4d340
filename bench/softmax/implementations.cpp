#include "bench/softmax/implementations.hpp"

#include "bench/ruler/roofline.hpp"
#include "bench/softmax/naive_eigen.hpp"

#include <attenta/core/config.hpp>
#include <attenta/core/executor.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/softmax/softmax.hpp>

#include <memory>
#include <stdexcept>
#include <string>

namespace bench {
namespace {

struct Attenta {
    explicit Attenta(const Problem& p)
        : problem(p),
          pool(p.shape().threads),
          context(pool),
          plan(attenta::plan_softmax(p.q(0), {}, p.kv(0), {.causal = p.shape().causal}, context)) {}

    const Problem& problem;
    attenta::ThreadPool pool;
    attenta::Context context;
    attenta::SoftmaxPlan plan;
};

Run prepare_attenta(const Problem& problem) {
    return [a = std::make_shared<Attenta>(problem)](std::size_t copy) {
        a->plan.run(a->problem.q(copy), a->problem.kv(copy), a->problem.o(copy));
    };
}

/// One side of a contiguous f32 view.
attenta::Heads<const float> dense(const attenta::KvView& kv, const attenta::KvView::Rows& s) {
    return {static_cast<const float*>(s.data), kv.heads, kv.tokens, s.dim, s.head_stride, s.token_stride};
}

Run prepare_naive_eigen(const Problem& problem) {
    return [&problem](std::size_t copy) {
        const attenta::KvView kv = problem.kv(copy);
        naive_eigen(problem.q(copy), dense(kv, kv.k), dense(kv, kv.v), problem.o(copy), problem.shape().causal);
    };
}

const std::vector<Implementation>& list() {
    static const std::vector<Implementation> all = with_added<Implementation>({
        {"attenta", [](const AttendCase&) { return true; }, prepare_attenta, attenta::active_isa,
         [] { return std::string("attenta " ATTENTA_VERSION); }},
        {"naive_eigen", [](const AttendCase& c) { return is_dense_f32(c) && c.threads == 1; }, prepare_naive_eigen,
         widest_isa, naive_eigen_version},
    });
    return all;
}

}  // namespace

const std::vector<Implementation>& implementations() { return list(); }

const Implementation& implementation(std::string_view name) {
    for (const Implementation& i : list())
        if (i.name == name) return i;
    throw std::invalid_argument("no implementation " + std::string(name));
}

}  // namespace bench
