// Linear attentions through features of queries and keys: kernel_linear, performer.
#pragma once

#include <algorithm>
#include <cstdint>

#include "spoiled.hpp"

namespace attenta_test {

//   S = Σ φ(k_j) v_jᵀ,  z = Σ φ(k_j)  over the keys seen;   o_i = divide(S^T φ(q_i), z·φ(q_i))
//
// Causal: query i sees keys 0 .. Tk − Tq + i, else all. phi_q(head, i) and phi_k(head, j) give rows of `features`;
// divide(num, den) changes num in place.
template <class PhiQ, class PhiK, class Divide>
NaiveLinear naive_feature_attention(View q, View k, View v, std::int64_t features, bool causal,
                                    const attenta::LinearState& past, PhiQ&& phi_q, PhiK&& phi_k, Divide&& divide) {
    NaiveLinear r = naive_start(q.heads, q.tokens, k.heads, features, v.dim, past);
    r.normalizer = naive_past(past.normalizer, k.heads * features);
    for (std::int64_t h = 0; h < k.heads; ++h) {
        std::int64_t seen = 0;
        for (std::int64_t t = 0; t < q.tokens; ++t) {
            for (; seen < (causal ? k.tokens - q.tokens + t + 1 : k.tokens); ++seen) {
                const Row phi = phi_k(h, seen);
                naive_add(r, h, phi, naive_row(v, h, k.heads, seen));
                for (std::int64_t f = 0; f < features; ++f) r.z_row(h)[f] += phi.data()[f];
            }
            for (std::int64_t i = r.first_reader(h); i < r.first_reader(h + 1); ++i) {
                const Row phi = phi_q(i, t);
                Row num = naive_read(r, h, phi);
                divide(num, naive_dot(r.z_row(h), phi));
                std::copy(num.begin(), num.end(), r.o_row(i, t));
            }
        }
    }
    return r;
}

inline void set_queries(LinearCase& c, std::int64_t Tq) {
    c.shape.Tq = Tq;
    c.put_normal("q", Along::queries, c.shape.Hq, c.shape.D);
}

inline void expect_feature_errors(const LinearMechanism& m) {
    const OwnErrors errors(m);
    EXPECT_TRUE(errors.refused({"q", "3", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 3; }));
    EXPECT_TRUE(errors.refused({"1", "2"}, [](Call& c) { c.x.at("q").heads = c.o.heads = 1; }));
    EXPECT_TRUE(errors.refused({"q", "1", "2"}, [](Call& c) { c.x.at("q").heads = 1, c.o.heads = 2; }));
    EXPECT_TRUE(errors.refused({"v", "1", "2"}, [](Call& c) { c.x.at("v").heads = 1; }));
    EXPECT_TRUE(errors.refused({"v", "5", "6"}, [](Call& c) { c.x.at("v").tokens = 5; }));
    EXPECT_TRUE(errors.refused({"15", "16"}, [](Call& c) { c.x.at("k").dim = 15; }));
    EXPECT_TRUE(errors.refused({"23", "24"}, [](Call& c) { c.x.at("v").dim = 23; }));
    EXPECT_TRUE(errors.refused({"q", "6", "5"}, [](Call& c) { c.x.at("k").tokens = c.x.at("v").tokens = 5; }));
}

}  // namespace attenta_test
