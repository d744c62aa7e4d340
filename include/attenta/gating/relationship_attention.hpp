// Residual relationship attention: the images of a batch attend to each other. Le et al. 2024, "Enhancing Fine-grained Image
// Classification through Attentive Batch Training"; the paper's exact form is not published, this is one reading.
//
//   q, k, v = x w_q, x w_k, x w_v, split into heads;   o = x + concat_h(softmax(scale · q kᵀ + position_h) v) w_o
//
// A batch of one adds x w_v w_o. Time B²·d + B·d².
#pragma once

#include <attenta/gating/common.hpp>

#include <cstdint>
#include <optional>

ATTENTA_BEGIN

/// The batch is the sequence. E and F are multiples of the heads. `position`, the similarities of pairs of images, is added to the
/// scores and may hold −inf.
struct RelationshipAttentionInputs {
    Matrices<const float> x, w_q, w_k, w_v, w_o;
    Heads<const float> position = {};

    static void list(auto&& visit, auto& x) {
        visit("x", x.x, "[B, D]");
        visit("w_q", x.w_q, "[D, E]");
        visit("w_k", x.w_k, "[D, E]");
        visit("w_v", x.w_v, "[D, F]");
        visit("w_o", x.w_o, "[F, D]");
        visit("position", x.position, "[G, B, B]", Input::optional);
    }
};

struct RelationshipAttentionOptions {
    std::int64_t heads = 1;
    std::optional<float> scale = {};  ///< default 1/sqrt(E / heads); finite
    bool check_data = false;          ///< refuse NaN, for a pass over all inputs

    static void fields(auto&& visit, auto& o) {
        visit("heads", o.heads, "of queries, keys and values");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(width of a head)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// o [B, D]. Throws Error on shapes and options that do not fit; nothing is written then.
void relationship_attention(const RelationshipAttentionInputs& x, Matrices<float> o,
                            const RelationshipAttentionOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/engine/attention.inl>
#include <attenta/gating/relationship_attention.inl>
#endif
