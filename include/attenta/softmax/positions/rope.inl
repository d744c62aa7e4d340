#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/engine/common/output_memory.hpp>
#include <attenta/softmax/positions/rope.hpp>
#include <attenta/softmax/positions/rope_rows.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

ATTENTA_BEGIN

/// The frequencies of a table from options, which it checks.
class RopeFrequencies {
public:
    RopeFrequencies(const char* function, std::int64_t dim, const RopeOptions& options, std::int64_t seq_len)
        : f_(function), o_(options), s_(options.scaling), dim_(dim) {
        check();
        length_ = static_cast<double>(std::max(s_.seq_len.value_or(seq_len), s_.max_position));
    }

    void set(RopeTable& table) const {
        table.dim_ = dim_;
        table.rotated_ = rotated();
        table.layout_ = o_.layout;
        table.factor_ = factor();
        rotary::set_frequencies(table.frequencies_, rotated(), base());
        for (std::size_t c = 0; c < table.frequencies_.size(); ++c) {
            double& w = table.frequencies_[c];
            w *= gain(w, c);
            if (!std::isfinite(w)) fail(f_, "base and scaling give a frequency that is no number");
        }
    }

private:
    static constexpr double turn = 2 * std::numbers::pi;

    std::int64_t rotated() const { return o_.rotary_dim.value_or(dim_); }
    double channels() const { return static_cast<double>(rotated()); }
    double trained() const { return static_cast<double>(s_.max_position); }
    bool is(RopeScalingType type) const { return s_.type == type; }

    [[noreturn]] void refuse(const char* name, double got, const char* needed) const {
        fail(f_, std::string(name) + " is " + std::to_string(got) + ", needs " + needed);
    }
    void check_positive(const char* name, double x) const {
        if (!std::isfinite(x) || x <= 0) refuse(name, x, "a finite number above 0");
    }

    void check() const {
        using enum RopeScalingType;
        if (dim_ < 1) fail(f_, "rows have " + checks::text(dim_) + " features, needs at least 1");
        if (rotated() < 1 || rotated() > dim_ || rotated() % 2 != 0)
            fail(f_, "rotary_dim is " + checks::text(rotated()) + ", needs an even number up to the " +
                         checks::text(dim_) + " features");
        check_positive("base", o_.base);
        if (static_cast<int>(s_.type) > static_cast<int>(longrope)) fail(f_, "scaling.type is none of RopeScalingType");
        if (is(none)) return;
        check_positive("factor", s_.factor);
        if ((is(ntk) || is(dynamic)) && rotated() == 2) refuse("rotary_dim", 2, "at least 4 for ntk and dynamic");
        if (!is(linear) && !is(ntk)) checks::require_at_least(f_, "max_position", s_.max_position, 1);
        if (s_.seq_len && *s_.seq_len < 0) fail(f_, "seq_len is " + checks::text(*s_.seq_len) + ", needs 0 or more");
        if (s_.attention_factor && !std::isfinite(*s_.attention_factor))
            refuse("attention_factor", *s_.attention_factor, "a finite number");
        if (is(yarn)) check_yarn();
        if (is(llama3) && (!std::isfinite(s_.low_freq_factor) || !std::isfinite(s_.high_freq_factor) ||
                           s_.low_freq_factor == s_.high_freq_factor))
            refuse("high_freq_factor", s_.high_freq_factor, "a finite number other than low_freq_factor");
        if (is(longrope)) check_longrope();
    }
    void check_yarn() const {
        if (o_.base == 1) refuse("base", o_.base, "a number other than 1 for yarn");
        check_positive("beta_fast", s_.beta_fast);
        check_positive("beta_slow", s_.beta_slow);
        for (const auto& [name, x] : {std::pair{"mscale", s_.mscale}, {"mscale_all_dim", s_.mscale_all_dim}})
            if (x && !std::isfinite(*x)) refuse(name, *x, "a finite number");
        if (!std::isfinite(factor())) refuse("mscale_all_dim", *s_.mscale_all_dim, "one that gives a finite factor");
    }
    void check_longrope() const {
        for (const auto& [name, x] : {std::pair{"short_factor", &s_.short_factor}, {"long_factor", &s_.long_factor}}) {
            if (static_cast<std::int64_t>(x->size()) != rotated() / 2)
                fail(f_, std::string(name) + " has " + std::to_string(x->size()) + " elements, needs " +
                             checks::text(rotated() / 2));
            for (const double divisor : *x) check_positive(name, divisor);
        }
        if (!s_.attention_factor && s_.factor > 1 && s_.max_position < 2)
            refuse("max_position", trained(), "at least 2 for longrope");
    }

    double base() const {
        const double power = channels() / (channels() - 2);
        if (is(RopeScalingType::ntk)) return o_.base * std::pow(s_.factor, power);
        if (!is(RopeScalingType::dynamic)) return o_.base;
        const double multiplier = s_.factor * length_ / trained() - (s_.factor - 1);
        if (!(multiplier > 0)) refuse("factor", s_.factor, "one that leaves the base above 0");
        return o_.base * std::pow(multiplier, power);
    }

    /// Of frequency w of pair c.
    double gain(double w, std::size_t c) const {
        switch (s_.type) {
            case RopeScalingType::linear:
                return 1 / s_.factor;
            case RopeScalingType::yarn: {
                const double ramp = yarn_ramp(static_cast<double>(c));
                return (1 - ramp) + ramp / s_.factor;
            }
            case RopeScalingType::llama3: {
                const double turns = trained() * w / turn;
                const double x =
                    std::clamp((turns - s_.low_freq_factor) / (s_.high_freq_factor - s_.low_freq_factor), 0.0, 1.0);
                return (1 - x) / s_.factor + x;
            }
            case RopeScalingType::longrope:
                return 1 / (length_ > trained() ? s_.long_factor : s_.short_factor)[c];
            default:
                return 1;
        }
    }

    double yarn_ramp(double c) const {
        const auto pair_of = [this](double turns) {
            return channels() * std::log(trained() / (turn * turns)) / (2 * std::log(o_.base));
        };
        double low = pair_of(s_.beta_fast), high = pair_of(s_.beta_slow);
        if (s_.truncate) low = std::floor(low), high = std::ceil(high);
        low = std::max(low, 0.0), high = std::min(high, channels() - 1);
        return std::clamp((c - low) / (high == low ? 0.001 : high - low), 0.0, 1.0);
    }

    /// f
    double factor() const {
        const bool is_long = is(RopeScalingType::longrope);
        if (!is_long && !is(RopeScalingType::yarn)) return 1;
        if (s_.attention_factor) return *s_.attention_factor;
        if (s_.factor <= 1) return 1;
        if (is_long) return std::sqrt(1 + std::log(s_.factor) / std::log(trained()));
        const auto g = [this](double a) { return 0.1 * a * std::log(s_.factor) + 1; };
        if (s_.mscale.value_or(0) != 0 && s_.mscale_all_dim.value_or(0) != 0)
            return g(*s_.mscale) / g(*s_.mscale_all_dim);
        return g(1);
    }

    const char* f_;
    const RopeOptions& o_;
    const RopeScaling& s_;
    std::int64_t dim_;
    double length_ = 0;
};

ATTENTA_INLINE RopeTable::RopeTable(std::int64_t dim, const RopeOptions& options, std::int64_t positions) {
    checks::require_at_least("RopeTable", "positions", positions, 0);
    RopeFrequencies("RopeTable", dim, options, positions).set(*this);
    keep(positions);
}

ATTENTA_INLINE void RopeTable::keep(std::int64_t positions) {
    if (checks::elements(positions, rotated_, 1) > checks::most_elements)
        fail("RopeTable", "positions is " + checks::text(positions) + ", more than memory holds");
    angles_.resize(static_cast<std::size_t>(positions * rotated_));
    for (std::int64_t p = 0; p < positions; ++p)
        rotary::set_angles(frequencies_, static_cast<double>(p), factor_, layout_ == RopeLayout::interleaved,
                           angles_.data() + p * rotated_);
    positions_ = positions;
}

ATTENTA_INLINE RopeTable RopeTable::of(const Matrices<const float>& cos, const Matrices<const float>& sin,
                                       std::int64_t dim, RopeLayout layout) {
    const char* const f = "RopeTable::of";
    for (const auto& [name, x] : {std::pair{"cos", &cos}, {"sin", &sin}}) {
        if (x->heads != 1 || x->rows != cos.rows || x->cols != cos.cols || x->rows < 1)
            fail(f, std::string(name) + " is " + checks::shape(x->heads, x->rows, x->cols) +
                        ", needs one matrix of at least one position, cos and sin alike");
        checks::check_pointer(f, name, x->data, sizeof(float), true);
        check_memory(f, name, Heads<const float>{x->data, x->rows, 1, x->cols, x->row_stride, 0});
    }
    if (cos.cols < 1 || dim < 2 || cos.cols > dim / 2)
        fail(f, "cos has " + checks::text(cos.cols) + " columns, needs 1 to half of the " + checks::text(dim) +
                    " features");
    RopeTable table;
    table.dim_ = dim;
    table.rotated_ = 2 * cos.cols;
    table.positions_ = cos.rows;
    table.layout_ = layout;
    table.angles_.resize(static_cast<std::size_t>(cos.rows * table.rotated_));
    const bool neighbours = layout == RopeLayout::interleaved;
    for (std::int64_t p = 0; p < cos.rows; ++p)
        for (std::int64_t c = 0; c < cos.cols; ++c) {
            float* const row = table.angles_.data() + p * table.rotated_;
            row[neighbours ? 2 * c : c] = cos.row(0, p)[c];
            row[neighbours ? 2 * c + 1 : c + cos.cols] = sin.row(0, p)[c];
        }
    return table;
}

ATTENTA_INLINE const float* RopeTable::angles(std::int64_t position, float* room) const {
    if (is_kept(position)) return angles_.data() + position * rotated_;
    rotary::set_angles(frequencies_, static_cast<double>(position), factor_, layout_ == RopeLayout::interleaved, room);
    return room;
}

namespace detail {

template <class T>
void check_rotation(const char* f, const char* name, const Heads<const T>& x, const Heads<T>& to) {
    checks::check_output(f, x.heads, x.tokens, x.dim,
                         Heads<float>{nullptr, to.heads, to.tokens, to.dim, to.head_stride, to.token_stride}, name);
    checks::check_pointer(f, name, to.data, sizeof(T), x.tokens > 0);
    checks::check_extent(f, name, bytes_of(to));
}

/// Rows are rotated where they lie.
template <class T>
bool in_place(const Heads<const T>& x, const Heads<T>& to) {
    return to.data == x.data && to.head_stride == x.head_stride && to.token_stride == x.token_stride;
}

template <class T>
void rope_rotate(const Heads<const T>& x, std::span<const std::int64_t> positions, const Heads<T>& to,
                 const RopeTable& table, Context& context) {
    const char* const f = "rope_rotate";
    if (x.heads < 1 || x.tokens < 0 || x.dim != table.dim() || x.dim < 1)
        fail(f, "x is " + checks::shape(x.heads, x.tokens, x.dim) + ", needs heads of the " +
                    checks::text(table.dim()) + " features of the table");
    if (static_cast<std::int64_t>(positions.size()) != x.tokens || (x.tokens > 0 && !positions.data()))
        fail(f, "positions has " + std::to_string(positions.size()) + " elements, needs " + checks::text(x.tokens));
    check_memory(f, "x", sizes_of(x));
    checks::check_pointer(f, "x", x.data, sizeof(T), x.tokens > 0);
    check_rotation(f, "to", x, to);
    for (const std::int64_t p : positions)
        if (!table.has(p))
            fail(f, "positions has " + checks::text(p) + ", the table has 0 to " + checks::text(table.positions() - 1));
    checks::check_apart(f, "to", bytes_of(to), std::array{NamedBytes{"positions", bytes_of(positions)}});
    if (!in_place(x, to)) checks::check_apart(f, "to", bytes_of(to), std::array{NamedBytes{"x", bytes_of(x)}});
    rotate_tokens(
        x, to, table.rotary_dim() / 2, table.layout() == RopeLayout::interleaved, context,
        [&](std::int64_t t, float* room) { return table.angles(positions[static_cast<std::size_t>(t)], room); });
}

inline void check_rope(const RopeInputs& x, const RopeOutputs& out, std::int64_t rotated, const RopeOptions& options) {
    const char* const f = "rope";
    constexpr std::int64_t most = std::int64_t{1} << 62;
    if (options.q_offset && (*options.q_offset < -most || *options.q_offset > most))
        fail(f, "q_offset is " + checks::text(*options.q_offset) + ", needs -2^62 to 2^62");
    check_rotation(f, "out.q", x.q, out.q);
    check_rotation(f, "out.k", x.k, out.k);
    const InputList inputs(x);
    OutputMemory memory(f, inputs);
    if (out.frequencies) memory.add("out.frequencies", hnd(out.frequencies, 1, 1, rotated / 2));
    const auto apart = [&](const char* name, const Heads<const float>& from, const Heads<float>& to) {
        for (const NamedBytes& in : memory_of(inputs))
            if (!in_place(from, to) || in.bytes.begin != bytes_of(from).begin)
                checks::check_apart(f, name, bytes_of(to), std::array{in});
    };
    apart("out.q", x.q, out.q);
    apart("out.k", x.k, out.k);
    std::array<NamedBytes, 2> others = {NamedBytes{"out.q", bytes_of(out.q)}, {"out.frequencies", {}}};
    if (out.frequencies) others[1].bytes = bytes_of(hnd(out.frequencies, 1, 1, rotated / 2));
    checks::check_apart(f, "out.k", bytes_of(out.k), others);
    checks::check_apart(f, "out.q", bytes_of(out.q), std::span(others).subspan(1));
}

}  // namespace detail

ATTENTA_INLINE void rope_rotate(const Heads<const float>& x, std::span<const std::int64_t> positions,
                                const Heads<float>& to, const RopeTable& table, Context& context) {
    detail::rope_rotate(x, positions, to, table, context);
}
ATTENTA_INLINE void rope_rotate(const Heads<const bfloat16>& x, std::span<const std::int64_t> positions,
                                const Heads<bfloat16>& to, const RopeTable& table, Context& context) {
    detail::rope_rotate(x, positions, to, table, context);
}
ATTENTA_INLINE void rope_rotate(const Heads<const float16>& x, std::span<const std::int64_t> positions,
                                const Heads<float16>& to, const RopeTable& table, Context& context) {
    detail::rope_rotate(x, positions, to, table, context);
}

ATTENTA_INLINE void rope(const RopeInputs& x, const RopeOutputs& out, const RopeOptions& options, Context& context) {
    const char* const f = "rope";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    for (const auto& [name, n] : {std::pair{"q has no heads", x.q.heads},
                                  {"k has no heads", x.k.heads},
                                  {"q has no tokens", x.q.tokens},
                                  {"k has no tokens", x.k.tokens}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    if (x.q.heads % x.k.heads != 0)
        fail(f, "q has " + checks::text(x.q.heads) + " heads, needs a multiple of the " + checks::text(x.k.heads) +
                    " heads of k");
    const std::int64_t offset = options.q_offset.value_or(x.k.tokens - x.q.tokens);
    const auto last_of = [](std::span<const std::int64_t> positions, std::int64_t otherwise) {
        return positions.empty() ? otherwise : *std::max_element(positions.begin(), positions.end());
    };
    const std::int64_t last = std::max(last_of(x.positions_q, saturating::add(offset, x.q.tokens - 1)),
                                       last_of(x.positions_k, x.k.tokens - 1));
    RopeTable& table = context.kept<RopeTable>();
    RopeFrequencies(f, x.q.dim, options, saturating::add(last, 1)).set(table);
    detail::check_rope(x, out, table.rotary_dim(), options);
    const auto rotate = [&](const Heads<const float>& from, const Heads<float>& to,
                            std::span<const std::int64_t> positions, std::int64_t first) {
        detail::rotate_tokens(from, to, table.rotary_dim() / 2, options.layout == RopeLayout::interleaved, context,
                              [&](std::int64_t t, float* room) {
                                  return table.angles(
                                      positions.empty() ? first + t : positions[static_cast<std::size_t>(t)], room);
                              });
    };
    rotate(x.q, out.q, x.positions_q, offset);
    rotate(x.k, out.k, x.positions_k, 0);
    for (std::size_t c = 0; out.frequencies && c < table.frequencies().size(); ++c)
        out.frequencies[c] = static_cast<float>(table.frequencies()[c]);
}

ATTENTA_END
