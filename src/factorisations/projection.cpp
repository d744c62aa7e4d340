// Random projections of the Performer, from matrices that are decomposed.
#include <attenta/core/error.hpp>
#include <attenta/linear/features/performer.hpp>

#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "solvers.hpp"

ATTENTA_BEGIN

namespace {

/// Standard normals, the same from every standard library (Box and Muller).
class Normals {
public:
    explicit Normals(std::uint64_t seed) : bits_(seed) {}
    double operator()() {
        const double radius = std::sqrt(-2 * std::log(1 - uniform()));
        return radius * std::cos(2 * std::numbers::pi * uniform());
    }

private:
    double uniform() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }
    std::mt19937_64 bits_;
};

}  // namespace

std::vector<float> performer_projection(std::int64_t features, std::int64_t dim, std::uint64_t seed,
                                        bool fixed_length) {
    const auto refuse = [](const char* name, std::int64_t n) {
        fail("performer_projection", std::string(name) + " is " + std::to_string(n) + ", needs at least 1");
    };
    if (features < 1) refuse("features", features);
    if (dim < 1) refuse("dim", dim);
    Normals normal(seed);
    const auto length = [&] {
        if (fixed_length) return std::sqrt(static_cast<double>(dim));
        double squares = 0;
        for (std::int64_t d = 0; d < dim; ++d) {
            const double x = normal();
            squares += x * x;
        }
        return std::sqrt(squares);
    };
    std::vector<float> w;
    for (std::int64_t first = 0; first < features; first += dim) {
        Eigen::MatrixXd gaussian(dim, dim);
        for (auto& x : gaussian.reshaped()) x = normal();
        const auto [orthonormal, r] = factorisation::thin_qr(gaussian);
        // With R's diagonal made positive the directions are uniform; as they come, they lean to one side.
        const Eigen::VectorXd signs = r.diagonal().cwiseSign();
        const Eigen::MatrixXd q = orthonormal * signs.asDiagonal();
        for (std::int64_t m = 0; m < std::min(dim, features - first); ++m) {
            const double to = length();
            for (std::int64_t d = 0; d < dim; ++d) w.push_back(static_cast<float>(to * q(d, m)));
        }
    }
    return w;
}

ATTENTA_END
