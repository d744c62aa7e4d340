#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/sparse/indexers/compressed.hpp>
#include <attenta/sparse/limit_mask.hpp>

#include <algorithm>
#include <cmath>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Turns the last pairs of rows at a position, by position · freq; angles in double precision, positions may be large.
class PairTurn {
public:
    PairTurn(std::int64_t position, std::span<const float> freq) {
        for (const float f : freq) {
            const double angle = static_cast<double>(position) * double{f};
            turns_.push_back({std::cos(angle), std::sin(angle)});
        }
    }
    void turn(float* row, std::int64_t dim) const {
        float* pair = row + dim - 2 * static_cast<std::int64_t>(turns_.size());
        for (const auto [cos, sin] : turns_) {
            const double a = double{pair[0]}, b = double{pair[1]};
            *pair++ = static_cast<float>(a * cos - b * sin);
            *pair++ = static_cast<float>(b * cos + a * sin);
        }
    }

private:
    struct Turn {
        double cos, sin;
    };
    std::vector<Turn> turns_;
};

inline void check_compressed(const CompressedInputs& x, const CompressedOptions& options) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    const char* const f = "compressed";
    require_at_least(f, "rate", options.rate, 1);
    require_at_least(f, "window", options.window, 1);
    if (options.top_k) require_at_least(f, "top_k", *options.top_k, 1);
    if (x.kv.heads != 1) fail(f, "k has " + text(x.kv.heads) + " heads, needs one");
    const std::int64_t entries = x.kv.length(0) / options.rate;
    const auto check_rows = [&](const char* name, const Matrices<const float>& rows) {
        if (rows.rows != entries || (!rows.data && entries > 0))
            fail(f, std::string(name) + " has " + text(rows.data ? rows.rows : 0) + " entries, needs " + text(entries));
    };
    check_rows("k_cmp", x.k_cmp);
    const bool own_values = x.kv.v.data != x.kv.k.data;
    if (own_values) check_rows("v_cmp", x.v_cmp);
    if (!own_values && x.v_cmp.data) fail(f, "v_cmp is given without v, needs both or none");
    if (!own_values && x.kv.v.dim > x.kv.k.dim)
        fail(f, "v has " + text(x.kv.v.dim) + " features and is k, which has " + text(x.kv.k.dim));
    const auto turned = 2 * static_cast<std::int64_t>(x.rope_freq.size()), least = std::min(x.q.dim, x.kv.v.dim);
    if (turned > least)
        fail(f, "rope_freq turns " + text(turned) + " features, needs at most the " + text(least) + " of k and v");
    if (!options.top_k) return;
    check_rows("k_idx", x.k_idx);
    for (const auto& [name, data] : {std::pair{"q_idx", x.q_idx.data}, {"w_idx", x.w_idx.data}})
        if (!data) fail(f, std::string(name) + " is null, needs a tensor where there is a top_k");
}

/// An entry is seen from its last token on.
inline select::Limit seen_entries(const CompressedInputs& x, const CompressedOptions& options) {
    return {.count = x.kv.length(0) / options.rate, .shift = 1, .unit = options.rate};
}

/// Entries as keys and values of one head.
inline KvView entries_of(const CompressedInputs& x) {
    KvView kv = keys_of(x.k_cmp);
    if (x.v_cmp.data) kv.v = keys_of(x.v_cmp).k;
    kv.v.dim = x.kv.v.dim;
    return kv;
}

inline void unrotate(const SparseCall& call, std::span<const float> freq) {
    const Heads<float> o = call.out.o;
    run_tasks(call.context->executor(), o.tokens, [&](std::int64_t t, int) {
        const PairTurn back(-(call.first_position() + t), freq);
        for (std::int64_t h = 0; h < o.heads; ++h) back.turn(o.row(h, t), o.dim);
    });
}

}  // namespace detail

ATTENTA_INLINE void CompressedEntries::Pool::add(double gate, double x) {
    if (gate > max) {
        const double factor = std::exp(max - gate);
        *this = {gate, sum * factor + 1, value * factor + x};
    } else if (gate != -std::numeric_limits<double>::infinity()) {
        const double weight = std::exp(gate - max);
        sum += weight;
        value += weight * x;
    }
}

ATTENTA_INLINE void CompressedEntries::Pool::add(const Pool& other) {
    if (other.sum == 0) return;
    const double top = std::max(max, other.max), own = std::exp(max - top), its = std::exp(other.max - top);
    *this = {top, sum * own + other.sum * its, value * own + other.value * its};
}

ATTENTA_INLINE CompressedEntries::CompressedEntries(const Form& form)
    : dim_(form.dim),
      rate_(form.rate),
      overlap_(form.overlap),
      eps_(double{form.eps}),
      norm_(form.norm.begin(), form.norm.end()),
      freq_(form.freq.begin(), form.freq.end()) {
    const char* const f = "CompressedEntries";
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    detail::require_at_least(f, "dim", dim_, 1);
    detail::require_at_least(f, "rate", rate_, 1);
    detail::check_eps(f, form.eps);
    if (form.bias.data && (form.bias.rows != rate_ || form.bias.cols != channels()))
        fail(f, "bias is [" + text(form.bias.rows) + ", " + text(form.bias.cols) + "], needs [" + text(rate_) + ", " +
                    text(channels()) + "]");
    const auto factors = static_cast<std::int64_t>(norm_.size()), turned = 2 * static_cast<std::int64_t>(freq_.size());
    if (factors != 0 && factors != dim_) fail(f, "norm has " + text(factors) + " factors, needs " + text(dim_));
    if (turned > dim_) fail(f, "freq turns " + text(turned) + " features, needs at most " + text(dim_));
    for (std::int64_t r = 0; form.bias.data && r < rate_; ++r)
        bias_.insert(bias_.end(), form.bias.row(0, r), form.bias.row(0, r) + channels());
    for (std::vector<Pool>* pools : {&here_, &before_, &next_}) pools->resize(static_cast<std::size_t>(dim_));
}

ATTENTA_INLINE void CompressedEntries::append(const Matrices<const float>& kv, const Matrices<const float>& gate,
                                              Context& context) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (kv.cols != channels() || gate.cols != channels() || kv.rows != gate.rows)
        fail("CompressedEntries::append", "kv has " + text(kv.rows) + " rows of " + text(kv.cols) + " channels, gate " +
                                              text(gate.rows) + " of " + text(gate.cols) +
                                              ", needs as many of both, of " + text(channels()));
    const std::int64_t before = tokens_ / rate_, after = (tokens_ + kv.rows) / rate_;
    rows_.resize(static_cast<std::size_t>(after * dim_));
    constexpr std::int64_t width = 64;  // channels of a task
    run_tasks(context.executor(), (dim_ + width - 1) / width,
              [&](std::int64_t i, int) { pool(kv, gate, i * width, std::min((i + 1) * width, dim_)); });
    run_tasks(context.executor(), after - before, [&](std::int64_t i, int) { finish(before + i); });
    tokens_ += kv.rows;
}

/// Channels [first, end) of all new tokens.
ATTENTA_INLINE void CompressedEntries::pool(const Matrices<const float>& kv, const Matrices<const float>& gate,
                                            std::int64_t first, std::int64_t end) {
    for (std::int64_t n = 0; n < kv.rows; ++n) {
        const std::int64_t token = tokens_ + n, place = token % rate_;
        const float* const bias = bias_.empty() ? nullptr : bias_.data() + place * channels();
        const auto add = [&](Pool& to, std::int64_t channel) {
            to.add(double{gate.row(0, n)[channel]} + (bias ? double{bias[channel]} : 0.0),
                   double{kv.row(0, n)[channel]});
        };
        for (std::int64_t c = first; c < end; ++c) {
            const auto at = static_cast<std::size_t>(c);
            if (overlap_) add(next_[at], c);
            add(here_[at], overlap_ ? dim_ + c : c);
            if (place + 1 < rate_) continue;
            here_[at].add(before_[at]);
            rows_[static_cast<std::size_t>(token / rate_ * dim_ + c)] =
                static_cast<float>(here_[at].value / here_[at].sum);
            before_[at] = next_[at];
            next_[at] = here_[at] = {};
        }
    }
}

ATTENTA_INLINE void CompressedEntries::finish(std::int64_t entry) {
    float* const row = rows_.data() + entry * dim_;
    double squares = 0;
    for (std::int64_t c = 0; c < dim_; ++c) squares += double{row[c]} * double{row[c]};
    const double factor = 1 / std::sqrt(squares / static_cast<double>(dim_) + eps_);
    for (std::int64_t c = 0; c < dim_; ++c)
        row[c] = static_cast<float>(double{row[c]} * factor *
                                    (norm_.empty() ? 1.0 : double{norm_[static_cast<std::size_t>(c)]}));
    detail::PairTurn(entry * rate_, freq_).turn(row, dim_);
}

namespace detail {

inline void select_compressed(const CompressedInputs& x, KeyLists& lists, const CompressedOptions& options,
                              Context& context) {
    check_compressed(x, options);
    if (!options.top_k) fail("compressed", "top_k is not given, needs a number to select");
    select::Request r{.function = "compressed", .q = x.q_idx, .weights = x.w_idx, .relu = true};
    r.keys = keys_of(x.k_idx);
    r.visible_keys = r.units = seen_entries(x, options);
    r.top = *options.top_k;
    r.q_offset = x.kv.length(0) - x.q.tokens;
    r.cache_keys = r.units.count;
    if (r.cache_keys == 0) r.keys.k.dim = x.q_idx.dim;  // of a matrix without data
    select::check(r);
    select::run(r, lists, context);
}

}  // namespace detail

ATTENTA_INLINE void compressed_lists(const CompressedInputs& x, KeyLists& lists, const CompressedOptions& options,
                                     Context& context) {
    detail::check_selection("compressed", InputList(x), x.q, x.kv);
    detail::select_compressed(x, lists, options, context);
}

ATTENTA_INLINE void compressed(const CompressedInputs& x, const SparseOutputs& out, const CompressedOptions& options,
                               Context& context) {
    const auto call = detail::check_sparse("compressed", x, out, options, Positions::last, context);
    detail::check_compressed(x, options);
    detail::CallLists lists(call);
    if (options.top_k) detail::select_compressed(x, *lists, options, context);

    const select::Limit seen = detail::seen_entries(x, options);
    detail::SparseParts parts(call, seen.count > 0 ? 2 : 1);
    attention::Request window = parts.request(), entries = parts.request();
    window.masks = {Window{options.window - 1, 0}};
    window.sink = x.sink;
    parts.add(window);
    if (seen.count > 0) {
        entries.kv = detail::entries_of(x);
        entries.q_offset = call.first_position();
        entries.masks = {detail::LimitMask{seen}};
        if (options.top_k) entries.lists = {&*lists, 1};
        parts.add(entries);
    }
    parts.merge();
    if (options.unrotate) detail::unrotate(call, x.rope_freq);
}

ATTENTA_END
