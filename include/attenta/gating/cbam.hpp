// CBAM: a gate of channels from pooled positions, then a gate of positions from pooled channels. Woo et al. 2018, "CBAM:
// Convolutional Block Attention Module", eq. 1-3.
//
//   g = σ(Σ_pool w_2 relu(w_1 pool(x) + b_1) + b_2) [C],  y = g ⊙ x      pools of a channel: mean, maximum, log Σ exp
//   m = σ(norm(w_s * [max_c y; mean_c y])) [H, W],  o = m ⊙ y             w_s * : a convolution, zero outside
//   norm(z) = (z − norm_mean) / √(norm_var + eps) · norm + norm_b, of the released code, where it is given
//
// Three passes over the map, y is not stored. Time H·W·C + H·W·2·n² + C·R per pool.
#pragma once

#include <attenta/gating/common.hpp>

#include <span>

ATTENTA_BEGIN

/// NN = n², n odd. The spatial part needs w_s alone, [max, mean]; the batch norm has all four numbers or none.
struct CbamInputs {
    Heads<const float> x;
    Matrices<const float> w_1;
    std::span<const float> b_1;
    Matrices<const float> w_2;
    std::span<const float> b_2;
    Heads<const float> w_s = {};
    std::span<const float> norm = {}, norm_b = {}, norm_mean = {}, norm_var = {};

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[C, H, W]");
        visit("w_1", x.w_1, "[R, C]");
        visit("b_1", x.b_1, "[R]");
        visit("w_2", x.w_2, "[C, R]");
        visit("b_2", x.b_2, "[C]");
        visit("w_s", x.w_s, "[O, P, NN]", Input::optional);
        visit("norm", x.norm, "[O]", Input::optional);
        visit("norm_b", x.norm_b, "[O]", Input::optional);
        visit("norm_mean", x.norm_mean, "[O]", Input::optional);
        visit("norm_var", x.norm_var, "[O]", Input::optional);
    }
};

struct CbamOutputs {
    Heads<float> o;                 ///< [C, H, W]
    float* channel_gate = nullptr;  ///< [C], or null
    float* spatial_gate = nullptr;  ///< [H, W], or null
};

struct CbamOptions {
    bool mean = true, max = true, log_sum_exp = false;  ///< the pools, at least one
    bool spatial = true;                                ///< false: the gate of channels alone
    float eps = 1e-5f;                                  ///< of the batch norm, at least 0
    bool check_data = false;                            ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("mean", o.mean, "pool the mean of a channel");
        visit("max", o.max, "pool the largest number of a channel");
        visit("log_sum_exp", o.log_sum_exp, "pool log of the sum of exp of a channel");
        visit("spatial", o.spatial, "gate positions, too");
        visit("eps", o.eps, "of the batch norm");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// A NaN in a channel reaches all gates. Throws Error on shapes and options that do not fit, on a kernel whose size is even and
/// on a variance below 0; nothing is written then.
void cbam(const CbamInputs& x, const CbamOutputs& out, const CbamOptions& options = {},
          Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/gating/cbam.inl>
#endif
