// The weighted key-value of RWKV-4. Peng et al. 2023, "RWKV: Reinventing RNNs for the Transformer Era", eq. 16, appendix D.
//
//   o_t = (Σ_{i<t} e^{g (t−1−i) + k_i} v_i + e^{u + k_t} v_t) / (Σ_{i<t} e^{g (t−1−i) + k_i} + e^{u + k_t})     per channel
//   o ← sigmoid(r) ⊙ o
//
//   As a recurrence on numerator a and denominator b, both divided by exp(m), whose exponents are all <= 0:
//     p = max(m, u + k),    o = (e^{m−p} a + e^{u+k−p} v) / (e^{m−p} b + e^{u+k−p})
//     m' = max(m + g, k),   a ← e^{m+g−m'} a + e^{k−m'} v,   b ← e^{m+g−m'} b + e^{k−m'},   m ← m'
//
//   Time T·D per head, state 3·D. A token with a state is the decode step; cuts change no bit.
#pragma once

#include <attenta/linear/recurrent/common.hpp>

ATTENTA_BEGIN

/// g <= 0 is the logarithm of the decay (a model stores w, g = −exp w), u the bonus of the token itself, r before its sigmoid.
struct Rwkv4WkvInputs {
    Heads<const float> k, v, g, u, r = {};
    static constexpr const char *output = "[H, T, D]", *state = "[H, 3, D]";

    static void list(auto&& visit, auto& x) {
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
        visit("g", x.g, "[H, D]", Input::gate);
        visit("u", x.u, "[H, D]");
        visit("r", x.r, "[H, T, D]", Input::optional);
    }
};

struct Rwkv4WkvOptions {
    bool check_data = false;  ///< refuse NaN anywhere and g above 0

    static void fields(auto&& visit, auto& o) { visit("check_data", o.check_data, "refuse NaN and gates above 0"); }
};

/// o [H, T, D]. The state is [H, 3, D], rows a, b and m; an empty one becomes a = b = 0, m = −1e38, which is no past. Zeros
/// are another past, of a scale m = 0.
/// Throws Error on shapes that do not fit, and on bad numbers with `check_data`; nothing is written then.
void rwkv4_wkv(const Rwkv4WkvInputs& x, Heads<float> o, LinearState& state, const Rwkv4WkvOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/linear/recurrent/rwkv4_wkv.inl>
#include <attenta/linear/recurrent/wkv_kernels.inl>
#endif
