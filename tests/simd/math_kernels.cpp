#include "math_kernels.hpp"

#include <attenta/simd/math.hpp>
#include <attenta/simd/score_rows.hpp>

namespace attenta_test {

template <class Arch, attenta::simd::Batch<Arch> (*f)(attenta::simd::Batch<Arch>)>
void map(const float* x, float* y, std::int64_t n) {
    attenta::simd::map_row<Arch>(x, y, n, f);
}

using Arch = attenta::simd::NativeArch;
ATTENTA_DEFINE_KERNEL(ElementFunction, exp_elements, &map<Arch, &attenta::simd::exp<Arch>>)
ATTENTA_DEFINE_KERNEL(ElementFunction, exp2_nonpositive_elements, &map<Arch, &attenta::simd::exp2_nonpositive<Arch>>)
ATTENTA_DEFINE_KERNEL(ElementFunction, softplus_elements, &map<Arch, &attenta::simd::softplus<Arch>>)
ATTENTA_DEFINE_KERNEL(ElementFunction, tanh_elements, &map<Arch, &attenta::simd::tanh<Arch>>)

}  // namespace attenta_test
