#pragma once

#include <attenta/engine/common/call_arrays.hpp>
#include <attenta/engine/common/checked_call.hpp>
#include <attenta/engine/dense/dense.hpp>
#include <attenta/engine/dense/layers.hpp>
#include <attenta/engine/dense/layers_kernels.hpp>
#include <attenta/softmax/softmax.hpp>
#include <attenta/variants/structured/block_recurrent.hpp>
#include <attenta/variants/structured/block_recurrent_kernels.hpp>
#include <attenta/variants/structured/row_kernels.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// The checks of a call, list by list.
class BlockRecurrentCheck {
public:
    BlockRecurrentCheck(const BlockRecurrentInputs& x, const BlockRecurrentOptions& options)
        : options_(options),
          tokens_(name, InputList(x.tokens), of_tokens(options.window)),
          states_(name, InputList(x.states), of_states(x)),
          update_(name, InputList(x.update), of_update(x, options)),
          gate_(name, InputList(x.gate), of_gate(x, options)),
          gate2_(name, InputList(x.gate2), of_gate(x, options)) {
        const RecurrentTokens& t = x.tokens;
        const bool unit = options.normalize_qk, single = options.structure == RecurrentStructure::single,
                   skip = options.structure == RecurrentStructure::skip;
        for (const auto& [argument, given] : {std::pair{"scale_self", t.scale_self.data() != nullptr},
                                              {"scale_cross", t.scale_cross.data() != nullptr},
                                              {"state_scale_self", t.state_scale_self.data() != nullptr},
                                              {"state_scale_cross", t.state_scale_cross.data() != nullptr}})
            wants(argument, given, unit, "normalize_qk");
        wants("v_prev", t.v_prev.data, t.k_prev.data, "k_prev");
        const RecurrentUpdate& u = x.update;
        wants("w_o", u.w_o.data, !single, "structure");
        wants("norm_ffn", u.norm_ffn.data(), !single && !skip, "structure");
        for (const auto& [argument, given] : {std::pair{"w_1", u.w_1.data != nullptr},
                                              {"b_1", u.b_1.data() != nullptr},
                                              {"w_2", u.w_2.data != nullptr},
                                              {"b_2", u.b_2.data() != nullptr}})
            wants(argument, given, !skip, "structure");
        gate_weights(x.gate, "", true);
        gate_weights(x.gate2, "2", options.structure == RecurrentStructure::dual);
        for (const CheckedCall* list : {&tokens_, &states_, &update_, &gate_, &gate2_})
            list->numbers(options.check_data);
        tokens_.scratch("the tokens with those of the previous block", t.q.heads,
                        saturating::add(t.q.tokens, options.window), t.q.dim);
    }

    void outputs(const BlockRecurrentInputs& x, const BlockRecurrentOutputs& out) {
        if (out.state.heads != 1) tokens_.refuse("state has " + checks::text(out.state.heads) + " heads, needs 1");
        const Matrices<const float>& state = x.states.state;
        for (CheckedCall* list : {&tokens_, &states_, &update_, &gate_, &gate2_}) {
            list->output("o", out.o, 2 * x.tokens.q.heads, x.tokens.q.tokens, x.tokens.q.dim);
            list->output("state", {out.state.data, out.state.rows, 1, out.state.cols, out.state.row_stride, 0},
                         state.rows, 1, state.cols);
        }
    }

private:
    static constexpr const char* name = "block_recurrent";

    static LetterSizes of_tokens(std::int64_t window) {
        checks::require_at_least(name, "window", window, 1);
        LetterSizes known;
        known.set("TW", window);
        return known;
    }
    static std::int64_t width(const BlockRecurrentInputs& x) {
        return saturating::multiply(x.tokens.q.heads, x.tokens.q.dim);
    }
    static LetterSizes of_states(const BlockRecurrentInputs& x) {
        LetterSizes known;
        known.set("X", width(x));
        return known;
    }
    static LetterSizes of_update(const BlockRecurrentInputs& x, const BlockRecurrentOptions& options) {
        LetterSizes known;
        const std::int64_t both = saturating::multiply(2, width(x));
        known.set("E", x.states.state.cols);
        known.set("R", both);
        known.set("U", options.structure == RecurrentStructure::single ? both : x.states.state.cols);
        return known;
    }
    static LetterSizes of_gate(const BlockRecurrentInputs& x, const BlockRecurrentOptions& options) {
        LetterSizes known;
        known.set("E", x.states.state.cols);
        known.set("N", x.update.w_1.cols);
        known.set("Y", options.structure == RecurrentStructure::single ? x.update.w_1.cols
                                                                       : saturating::multiply(2, width(x)));
        return known;
    }

    void wants(const std::string& argument, bool given, bool wanted, const char* by) const {
        if (given == wanted) return;
        tokens_.refuse(argument + (wanted ? " is null, " : " is given, ") + by +
                       (wanted ? " needs it" : " needs it to be null"));
    }
    void gate_weights(const RecurrentGateInputs& g, const std::string& suffix, bool wanted) const {
        const bool lstm = options_.gate == RecurrentGate::lstm, full = options_.gate == RecurrentGate::full;
        wants("b_g" + suffix, g.b_g.data(), wanted && !lstm, "gate");
        wants("w_g" + suffix, g.w_g.data, wanted && full, "gate");
        wants("b_f" + suffix, g.b_f.data(), wanted && lstm, "gate");
        wants("w_f" + suffix, g.w_f.data, wanted && lstm, "gate");
        wants("b_i" + suffix, g.b_i.data(), wanted && lstm, "gate");
        wants("w_i" + suffix, g.w_i.data, wanted && lstm, "gate");
    }

    const BlockRecurrentOptions& options_;
    CheckedCall tokens_, states_, update_, gate_, gate2_;
};

class BlockRecurrence {
public:
    BlockRecurrence(const BlockRecurrentInputs& x, const BlockRecurrentOutputs& out,
                    const BlockRecurrentOptions& options, Context& context)
        : x_(x),
          out_(out),
          options_(options),
          context_(context),
          arrays_(context),
          heads_(x.tokens.q.heads),
          dim_(x.tokens.q.dim),
          before_(x.tokens.k_prev.data ? options.window : 0) {
        const RecurrentTokens& t = x.tokens;
        q_ = unit(t.q, t.scale_self), q_cross_ = unit(t.q_cross, t.scale_cross);
        k_ = joined(t.k_prev, t.k, options.normalize_qk), v_ = joined(t.v_prev, t.v, false);
        softmax_.scale = options.normalize_qk ? 1.f : 1.f / std::sqrt(static_cast<float>(dim_));
        const std::int64_t states = x.states.state.rows, dm = x.states.state.cols, width = heads_ * dim_;
        normed_ = matrix(states, dm), candidate_ = matrix(states, dm), forget_ = matrix(states, dm),
        input_ = matrix(states, dm);
        for (Matrices<float>* m : {&sk_, &sv_, &sq_, &sqc_}) *m = matrix(states, width);
        read_ = matrix(states, 2 * width);
        if (x.update.w_1.data) hidden_ = matrix(states, x.update.w_1.cols);
        for (std::int64_t s = 0; s < states; ++s) std::copy_n(x.states.state.row(0, s), dm, out.state.row(0, s));
    }

    /// Step 1, of all blocks at once.
    void tokens_to_tokens() const {
        SoftmaxOptions softmax = softmax_;
        softmax.causal = true;
        softmax.window_left = options_.window - 1;
        softmax.q_offset = before_ - (options_.include_self ? 0 : 1);
        attend(q_, k_, v_, {out_.o.data, heads_, out_.o.tokens, dim_, out_.o.head_stride, out_.o.token_stride},
               softmax);
    }

    /// Steps 2 to 5.
    void block(std::int64_t begin, std::int64_t end) const {
        project_states();
        const Heads<const float> states_k = by_head(sk_), states_v = by_head(sv_);
        const Heads<float> cross{out_.o.row(heads_, 0), heads_, out_.o.tokens, dim_, out_.o.head_stride,
                                 out_.o.token_stride};
        attend(q_cross_.slice(begin, end - begin), states_k, states_v, cross.slice(begin, end - begin), softmax_);
        const std::int64_t last = before_ + end, first = before_ + begin,
                           seen = options_.state_sees_previous ? std::max<std::int64_t>(0, first - options_.window)
                                                               : first;
        const Heads<float> read_self{read_.data, heads_, read_.rows, dim_, dim_, read_.row_stride},
            read_tokens{read_.data + heads_ * dim_, heads_, read_.rows, dim_, dim_, read_.row_stride};
        attend(by_head(sq_), states_k, states_v, read_self, softmax_);
        attend(by_head(sqc_), k_.slice(seen, last - seen), v_.slice(seen, last - seen), read_tokens, softmax_);
        update();
    }

private:
    Matrices<float> matrix(std::int64_t rows, std::int64_t cols) { return {arrays_.take(rows * cols), 1, rows, cols}; }
    Heads<float> by_head(const Matrices<float>& x) const { return {x.data, heads_, x.rows, dim_, dim_, x.row_stride}; }
    void attend(Heads<const float> q, Heads<const float> k, Heads<const float> v, Heads<float> o,
                const SoftmaxOptions& softmax) const {
        softmax_attention(q, k, v, o, softmax, nullptr, context_);
    }

    /// to = |scale| unit(x), of each head.
    void to_unit(Heads<const float> x, std::span<const float> scale, Heads<float> to) const {
        for_rows(context_, x.heads, x.tokens, 64, [&](std::int64_t h, std::int64_t begin, std::int64_t end) {
            const float factor = scale.data() ? std::abs(scale.data()[h]) : 1.f;
            for (std::int64_t t = begin; t < end; ++t)
                structured::unit_row()(x.row(h, t), x.dim, {.eps = 1e-6f, .factor = factor}, to.row(h, t));
        });
    }
    Heads<const float> unit(Heads<const float> x, std::span<const float> scale) {
        if (!options_.normalize_qk) return x;
        const Heads<float> to = arrays_.heads(x.heads, x.tokens, x.dim);
        to_unit(x, scale, to);
        return to;
    }
    /// The previous block and the tokens in one array, where they are not one already.
    Heads<const float> joined(Heads<const float> previous, Heads<const float> x, bool as_unit) {
        if (!as_unit && before_ == 0) return x;
        const Heads<float> to = arrays_.heads(x.heads, before_ + x.tokens, x.dim);
        for (const auto& [from, at] : {std::pair{previous, std::int64_t{0}}, {x, before_}}) {
            if (!from.data) continue;
            const Heads<float> part = to.slice(at, from.tokens);
            if (as_unit) {
                to_unit(from, {}, part);
                continue;
            }
            for_rows(context_, from.heads, from.tokens, 64,
                     [&, source = from](std::int64_t h, std::int64_t begin, std::int64_t end) {
                         for (std::int64_t t = begin; t < end; ++t)
                             std::copy_n(source.row(h, t), source.dim, part.row(h, t));
                     });
        }
        return to;
    }

    /// Rows of states through `f(row)`.
    template <class F>
    void each_state(F&& f) const {
        context_.executor().parallel_for(out_.state.rows, [&](std::int64_t s, int) { f(s); });
    }
    void rms(const float* gain, const Matrices<const float>& shift) const {
        each_state([&](std::int64_t s) {
            dense::rms_norm_row()(out_.state.row(0, s), out_.state.cols, gain, shift.data ? shift.row(0, s) : nullptr,
                                  1e-6f, normed_.row(0, s));
        });
    }

    void project_states() const {
        const RecurrentStates& w = x_.states;
        rms(w.norm.data(), w.pos);
        struct Projection {
            const Matrices<const float>& weight;
            const Matrices<float>& to;
            std::span<const float> scale;
            bool unit;
        };
        for (const Projection& p : {Projection{w.w_sk, sk_, {}, true},
                                    {w.w_sv, sv_, {}, false},
                                    {w.w_sq, sq_, x_.tokens.state_scale_self, true},
                                    {w.w_sqc, sqc_, x_.tokens.state_scale_cross, true}}) {
            dense::multiply(dense::read(normed_), p.weight, p.to, {}, context_);
            if (p.unit && options_.normalize_qk) to_unit(by_head(p.to), p.scale, by_head(p.to));
        }
    }

    void update() const {
        const RecurrentUpdate& w = x_.update;
        const bool single = options_.structure == RecurrentStructure::single;
        if (!single) {
            dense::multiply(dense::read(read_), w.w_o, candidate_, {}, context_);
            gate(x_.gate, dense::read(read_), nullptr);
        }
        if (options_.structure == RecurrentStructure::skip) return;
        if (!single) rms(w.norm_ffn.data(), {});
        dense::layer(dense::read(single ? read_ : normed_), w.w_1, false, {w.b_1.data()}, dense::Activation::relu,
                     hidden_, context_);
        dense::multiply(dense::read(hidden_), w.w_2, candidate_, {}, context_);
        gate(single ? x_.gate : x_.gate2, dense::read(hidden_), w.b_2.data());
    }

    void gate(const RecurrentGateInputs& w, const Matrices<const float>& y, const float* z_bias) const {
        const bool lstm = options_.gate == RecurrentGate::lstm, fixed = options_.gate == RecurrentGate::fixed;
        if (!fixed) dense::multiply(y, lstm ? w.w_f : w.w_g, forget_, {}, context_);
        if (lstm) dense::multiply(y, w.w_i, input_, {}, context_);
        each_state([&](std::int64_t s) {
            structured::GateRow g{.c = out_.state.row(0, s), .z = candidate_.row(0, s), .z_bias = z_bias};
            g.forget = fixed ? nullptr : forget_.row(0, s);
            g.forget_bias = lstm ? w.b_f.data() : w.b_g.data();
            g.forget_shift = fixed ? 0.f : 1.f;
            if (lstm) g.input = input_.row(0, s), g.input_bias = w.b_i.data(), g.input_shift = -1.f;
            g.tanh = options_.tanh_z.value_or(lstm);
            g.n = out_.state.cols;
            structured::gate_state_row()(g);
        });
    }

    const BlockRecurrentInputs& x_;
    const BlockRecurrentOutputs& out_;
    const BlockRecurrentOptions& options_;
    Context& context_;
    CallArrays arrays_;
    const std::int64_t heads_, dim_, before_;  ///< tokens of the previous block
    SoftmaxOptions softmax_;
    Heads<const float> q_, q_cross_, k_, v_;
    Matrices<float> normed_, candidate_, forget_, input_;  ///< [S, E]
    Matrices<float> sk_, sv_, sq_, sqc_;                   ///< [S, H·D]
    Matrices<float> read_, hidden_;                        ///< [S, 2·H·D], [S, N]
};

}  // namespace detail

ATTENTA_INLINE void block_recurrent(const BlockRecurrentInputs& x, const BlockRecurrentOutputs& out,
                                    const BlockRecurrentOptions& options, Context& context) {
    detail::BlockRecurrentCheck check(x, options);
    check.outputs(x, out);
    detail::BlockRecurrence cell(x, out, options, context);
    cell.tokens_to_tokens();
    const std::int64_t tokens = x.tokens.q.tokens;
    for (std::int64_t begin = 0; begin < tokens; begin += options.window)
        cell.block(begin, begin + std::min(options.window, tokens - begin));
}

ATTENTA_END
