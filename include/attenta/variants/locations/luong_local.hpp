// Local attention of Luong, Pham, Manning 2015, "Effective Approaches to Attention-based Neural Machine Translation", eq. 9-10: a
// window of keys around a position.
//
//   m   p_i = i + offset                                       monotonic
//   p   p_i = Tk · σ(v_p·tanh(W_p q_i))                        predicted
//   window     keys j with |j − ⌊p_i⌋| <= window;  w_ij = softmax over them of scale · s_ij
//   gaussian   w_ij ← w_ij exp(−(j − p_i)² / (2 sigma²)), not normalised again; or a factor of the scores
//   o_i = Σ_j w_ij v_j, 0 where no key is in the window
//
// The scores are those of network/luong_scores.hpp. Keys are counted from 0 and p follows the paper, the centre is the floor as in
// the released code. Tiles that no query of a block looks at are skipped: where p moves along with i, time is Hq Tq window D.
#pragma once

#include <attenta/variants/network/luong_scores.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

ATTENTA_BEGIN

enum class LuongPosition : std::uint8_t { m, p };
constexpr std::array<std::string_view, 2> names_of(LuongPosition) { return {"m", "p"}; }
enum class GaussianOn : std::uint8_t { weights, scores };
constexpr std::array<std::string_view, 2> names_of(GaussianOn) { return {"weights", "scores"}; }

/// The shape of w_a is that of the score.
struct LuongLocalInputs {
    Heads<const float> q;
    KvView kv;
    Matrices<const float> w_a = {};
    std::span<const float> v_a = {};
    Matrices<const float> w_p = {};
    std::span<const float> v_p = {};

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, Dq]");
        visit("k", "v", x.kv, "[Hkv, Tk, Dk]", "[Hkv, Tk, Dv]");
        visit("w_a", x.w_a, "[A, C]", Input::optional);
        visit("v_a", x.v_a, "[A]", Input::optional);
        visit("w_p", x.w_p, "[Ap, Dq]", Input::optional);
        visit("v_p", x.v_p, "[Ap]", Input::optional);
    }
};

struct LuongLocalOptions {
    LuongScore score = LuongScore::dot;
    LuongPosition mode = LuongPosition::m;
    std::int64_t window = 10;
    std::int64_t offset = 0;            ///< of mode m
    std::optional<bool> gaussian = {};  ///< default: in mode p
    GaussianOn gaussian_on = GaussianOn::weights;
    std::optional<float> sigma = {};  ///< default window / 2
    std::optional<float> scale = {};  ///< default 1

    static void fields(auto&& visit, auto& o) {
        visit("score", o.score, "dot, general, concat or location");
        visit("mode", o.mode, "m: position i + offset; p: predicted from the query");
        visit("window", o.window, "keys on either side of the position");
        visit("offset", o.offset, "position of query 0 in mode m");
        visit("gaussian", o.gaussian, "weights fall off from the position, default: in mode p");
        visit("gaussian_on", o.gaussian_on, "weights, or scores before the softmax");
        visit("sigma", o.sigma, "width of the Gaussian, default window / 2");
        visit("scale", o.scale, "factor of the scores, default 1");
    }
};

struct LuongLocalOutputs {
    Heads<float> o;             ///< [Hq, Tq, Dv]
    float* position = nullptr;  ///< [Hq, Tq] p_i; or null
};

/// Throws Error on shapes and options that do not fit, on a window below 1 and a sigma that is not above 0; nothing is written
/// then.
void luong_local(const LuongLocalInputs& x, const LuongLocalOutputs& out, const LuongLocalOptions& options = {},
                 Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/variants/locations/kernels.inl>
#include <attenta/variants/locations/luong_local.inl>
#endif
