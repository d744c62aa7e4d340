// Tensors for benchmarks whose numbers need not be known.
#pragma once

#include <attenta/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace bench {

/// [heads, tokens, dim] of standard normal numbers that repeat after a long period.
class Normals {
public:
    Normals(std::int64_t heads, std::int64_t tokens, std::int64_t dim)
        : heads_(heads), tokens_(tokens), dim_(dim), values_(static_cast<std::size_t>(heads * tokens * dim)) {
        static const std::vector<float> period = [] {
            std::vector<float> x((std::size_t{1} << 20) - 3);
            std::mt19937 random(1);
            std::normal_distribution<float> normal;
            for (float& e : x) e = normal(random);
            return x;
        }();
        for (std::size_t i = 0; i < values_.size(); ++i) values_[i] = period[i % period.size()];
    }
    attenta::Heads<const float> view() const { return attenta::hnd(values_.data(), heads_, tokens_, dim_); }
    attenta::Heads<float> view() { return attenta::hnd(values_.data(), heads_, tokens_, dim_); }

private:
    std::int64_t heads_, tokens_, dim_;
    std::vector<float> values_;
};

}  // namespace bench
