// The register tile: C[rows × vectors] (+)= A · B by broadcast and FMA. Scores and values are both this one kernel,
// without a horizontal sum anywhere.
#pragma once

#include <attenta/simd/vector.hpp>

ATTENTA_BEGIN

namespace simd {

/// Nothing to do between the steps of a product.
struct Idle {
    ATTENTA_ALWAYS_INLINE void operator()() const {}
};

/// A piece of C while it is in registers: where several products meet, it is loaded and stored once.
template <class Arch, int Rows, int Vectors>
class RegisterTile {
    using B = Batch<Arch>;

public:
    /// Steps of a product between two calls of `between`. Measured: small tiles need more.
    static constexpr int together = Rows * Vectors >= 24 ? 2 : 4;

    ATTENTA_ALWAYS_INLINE void zero() {
        each([&](auto r, auto n) ATTENTA_FLATTEN { sum_[r][n] = B(0.f); });
    }
    ATTENTA_ALWAYS_INLINE void load(const float* c, std::int64_t c_stride) {
        each([&](auto r, auto n)
                 ATTENTA_FLATTEN { sum_[r][n] = B::load_unaligned(c + r * c_stride + n * lanes<Arch>); });
    }
    /// Adds factor[r] · C[r].
    ATTENTA_ALWAYS_INLINE void add_scaled(const float* factor, const float* c, std::int64_t c_stride) {
        each([&](auto r, auto n) ATTENTA_FLATTEN {
            sum_[r][n] = fma<Arch>(B(factor[r]), B::load_unaligned(c + r * c_stride + n * lanes<Arch>), sum_[r][n]);
        });
    }
    /// Row r times factor[r].
    ATTENTA_ALWAYS_INLINE void scale(const float* factor) {
        each([&](auto r, auto n) ATTENTA_FLATTEN { sum_[r][n] = sum_[r][n] * B(factor[r]); });
    }
    /// C[r][n] += Σ_k A[r · RowStep + k · depth_step] · B[k · b_stride + n lanes], k < depth. The rows' step is
    /// compile-time so that their addresses are displacements. Calls between() before every `together` steps.
    template <int RowStep, class T, class Between = Idle>
    ATTENTA_ALWAYS_INLINE void add(const float* a, std::int64_t depth_step, const T* b, std::int64_t b_stride,
                                   std::int64_t depth, Between&& between = {}) {
        const auto step = [&](std::int64_t u) ATTENTA_FLATTEN {
            const float* const x = a + u * depth_step;
            const T* const y = b + u * b_stride;
            B row[Vectors];
            unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { row[n] = simd::load<Arch>(y + n * lanes<Arch>); });
            unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
                const B weight(x[r * RowStep]);
                unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { sum_[r][n] = fma<Arch>(weight, row[n], sum_[r][n]); });
                hold_loads();
            });
        };
        // Several steps an iteration: processors foresee the end of short loops only, and depths are 32 and more.
        for (; depth >= together; depth -= together) {
            between();
            unrolled<together>([&](auto u) ATTENTA_FLATTEN { step(u); });
            a += together * depth_step;
            b += together * b_stride;
        }
        for (std::int64_t u = 0; u < depth; ++u) step(u);
    }
    /// C[r] += Σ_s A[r · RowStep + s] · B[s], s < r: what lies below the diagonal. Nothing above it is touched.
    template <int RowStep>
    ATTENTA_ALWAYS_INLINE void add_below(const float* a, const float* b, std::int64_t b_stride) {
        below<RowStep>(
            a, [&](auto s, auto n) ATTENTA_FLATTEN { return B::load_unaligned(b + s * b_stride + n * lanes<Arch>); });
    }
    /// The same with B = C: forward substitution, C ← (I − A)⁻¹ C.
    template <int RowStep>
    ATTENTA_ALWAYS_INLINE void substitute(const float* a) {
        below<RowStep>(a, [&](auto s, auto n) ATTENTA_FLATTEN { return sum_[s][n]; });
    }
    ATTENTA_ALWAYS_INLINE void store(float* c, std::int64_t c_stride) const {
        each([&](auto r, auto n) ATTENTA_FLATTEN { sum_[r][n].store_unaligned(c + r * c_stride + n * lanes<Arch>); });
    }
    /// Row r times factor[r] goes to out(r). Returns whether all of it is finite.
    template <class Row>
    ATTENTA_ALWAYS_INLINE bool finish(const float* factor, Row&& out) const {
        B zero[Vectors];
        unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { zero[n] = B(0.f); });
        unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
            float* const to = out(r);
            const B x(factor[r]);
            unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN {
                const B y = sum_[r][n] * x;
                y.store_unaligned(to + n * lanes<Arch>);
                zero[n] = fma<Arch>(y, B(0.f), zero[n]);
            });
        });
        unrolled<Vectors - 1>([&](auto n) ATTENTA_FLATTEN { zero[0] = zero[0] + zero[n + 1]; });
        return reduce_add<Arch>(zero[0]) == 0.f;
    }

private:
    template <class F>
    ATTENTA_ALWAYS_INLINE static void each(F&& f) {
        unrolled<Rows>([&](auto r) ATTENTA_FLATTEN { unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { f(r, n); }); });
    }
    template <int RowStep, class F>
    ATTENTA_ALWAYS_INLINE void below(const float* a, F&& row) {
        unrolled<Rows>([&](auto r) ATTENTA_FLATTEN {
            unrolled<r>([&](auto s) ATTENTA_FLATTEN {
                const B x(a[r * RowStep + s]);
                unrolled<Vectors>([&](auto n) ATTENTA_FLATTEN { sum_[r][n] = fma<Arch>(x, row(s, n), sum_[r][n]); });
            });
        });
    }
    B sum_[Rows][Vectors];
};

}  // namespace simd

ATTENTA_END
