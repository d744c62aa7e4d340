#include "bench/softmax/agreement.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace bench {
namespace {

/// Absolute, for standard normal q, K and V. ggml sums f16 values in f16, which costs 0.016 on 32768 keys; someone else's
/// result would be 0.05 away there.
float allowed(attenta::Dtype dtype) { return dtype == attenta::Dtype::f32 ? 2e-5f : 2e-2f; }

/// o of copy 0, after a run that started from NaN.
std::vector<float> result(const Problem& problem, const Run& run) {
    const attenta::Heads<float> o = problem.o(0);
    const auto n = o.heads * o.tokens * o.dim;
    std::fill_n(o.data, n, std::numeric_limits<float>::quiet_NaN());
    run(0);
    return {o.data, o.data + n};
}

}  // namespace

void require_agreement(const Problem& problem, std::string_view name, const Run& run, const Run& ours) {
    const std::vector<float> got = result(problem, run), want = result(problem, ours);
    float error = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        const float e = std::abs(got[i] - want[i]);
        if (e > error || std::isnan(e)) error = e;
    }
    if (error <= allowed(problem.shape().dtype)) return;
    std::ostringstream s;
    s << name << ": differs from attenta by " << error << ", " << allowed(problem.shape().dtype) << " is allowed";
    throw std::runtime_error(s.str());
}

}  // namespace bench
