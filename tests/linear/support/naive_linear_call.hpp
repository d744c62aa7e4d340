// The twelve linear attentions and their definitions behind one pair of names: call and naive, with inputs by name.
#pragma once

#include <attenta/core/context.hpp>

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "naive_delta.hpp"
#include "naive_features.hpp"
#include "naive_recurrent.hpp"

namespace attenta_test {

/// Inputs by the names of their parameters; empty where there are none.
class LinearViews {
public:
    View operator[](std::string_view name) const {
        const auto found = views_.find(name);
        return found == views_.end() ? View{} : found->second;
    }
    View& at(std::string_view name) { return views_.find(name)->second; }
    View& add(const std::string& name, View view) { return views_[name] = view; }
    /// A plain array lies along the last axis.
    std::span<const float> array(std::string_view name) const {
        const View x = (*this)[name];
        return {x.data, static_cast<std::size_t>(x.dim)};
    }

private:
    std::map<std::string, View, std::less<>> views_;
};

inline attenta::Matrices<const float> matrices(View x) { return {x.data, x.heads, x.tokens, x.dim}; }

using attenta::Context;
using attenta::LinearState;
using Out = attenta::Heads<float>;

inline attenta::GlaOptions borrowing(const LinearViews& x, attenta::GlaOptions options) {
    options.gv = x["gv"];
    return options;
}
inline void call(const LinearViews& x, const attenta::GlaOptions& options, Out o, LinearState& s, Context& c) {
    attenta::gla(x["q"], x["k"], x["v"], x["g"], o, s, borrowing(x, options), c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::GlaOptions& options, const LinearState& past) {
    return naive_gla(x["q"], x["k"], x["v"], x["g"], past, borrowing(x, options));
}

inline void call(const LinearViews& x, const attenta::Hgrn2Options& options, Out o, LinearState& s, Context& c) {
    attenta::hgrn2(x["q"], x["v"], x["g"], o, s, options, c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::Hgrn2Options& options, const LinearState& past) {
    return naive_hgrn2(x["q"], x["v"], x["g"], past, options);
}

inline void call(const LinearViews& x, const attenta::Rwkv6Options& options, Out o, LinearState& s, Context& c) {
    attenta::rwkv6(x["q"], x["k"], x["v"], x["g"], x["u"], o, s, options, c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::Rwkv6Options& options, const LinearState& past) {
    return naive_rwkv6(x["q"], x["k"], x["v"], x["g"], x["u"], past, options);
}

inline void call(const LinearViews& x, const attenta::LightningOptions& options, Out o, LinearState& s, Context& c) {
    attenta::lightning(x["q"], x["k"], x["v"], x["g"], o, s, options, c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::LightningOptions& options, const LinearState& past) {
    return naive_lightning(x["q"], x["k"], x["v"], x["g"], past, options);
}

inline attenta::RetentionOptions borrowing(const LinearViews& x, attenta::RetentionOptions options) {
    options.theta = x.array("theta");
    return options;
}
inline void call(const LinearViews& x, const attenta::RetentionOptions& options, Out o, LinearState& s, Context& c) {
    attenta::retention(x["q"], x["k"], x["v"], x["g"], o, s, borrowing(x, options), c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::RetentionOptions& options, const LinearState& past) {
    return naive_retention(x["q"], x["k"], x["v"], x["g"], past, borrowing(x, options));
}

inline attenta::Mamba2Options borrowing(const LinearViews& x, attenta::Mamba2Options options) {
    options.D = x["D"], options.z = x["z"], options.dt_bias = x.array("dt_bias");
    return options;
}
inline void call(const LinearViews& x, const attenta::Mamba2Options& options, Out o, LinearState& s, Context& c) {
    attenta::mamba2(x["x"], x["dt"], x.array("A"), x["B"], x["C"], o, s, borrowing(x, options), c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::Mamba2Options& options, const LinearState& past) {
    return naive_mamba2(x["x"], x["dt"], x.array("A"), x["B"], x["C"], past, borrowing(x, options));
}

inline void call(const LinearViews& x, const attenta::DeltaRuleOptions& options, Out o, LinearState& s, Context& c) {
    attenta::delta_rule(x["q"], x["k"], x["v"], x["beta"], o, s, options, c);
}
inline void call(const LinearViews& x, const attenta::GatedDeltaRuleOptions& options, Out o, LinearState& s,
                 Context& c) {
    attenta::gated_delta_rule(x["q"], x["k"], x["v"], x["g"], x["beta"], o, s, options, c);
}
inline void call(const LinearViews& x, const attenta::KdaOptions& options, Out o, LinearState& s, Context& c) {
    attenta::kda(x["q"], x["k"], x["v"], x["g"], x["beta"], o, s, options, c);
}
template <class Options>
requires requires(Options o) { o.qk_l2norm; }
NaiveLinear naive(const LinearViews& x, const Options& options, const LinearState& past) {
    return naive_delta(x["q"], x["k"], x["v"], x["g"], x["beta"], past, options);
}

inline void call(const LinearViews& x, const attenta::Rwkv7Options& options, Out o, LinearState& s, Context& c) {
    attenta::rwkv7(x["q"], x["k"], x["v"], x["a"], x["b"], x["g"], o, s, options, c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::Rwkv7Options& options, const LinearState& past) {
    return naive_rwkv7(x["q"], x["k"], x["v"], x["a"], x["b"], x["g"], past, options);
}

inline void call(const LinearViews& x, const attenta::KernelLinearOptions& options, Out o, LinearState& s, Context& c) {
    attenta::kernel_linear(x["q"], x["k"], x["v"], o, s, options, c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::KernelLinearOptions& options, const LinearState& past) {
    return naive_kernel_linear(x["q"], x["k"], x["v"], past, options);
}

inline attenta::PerformerOptions borrowing(const LinearViews& x, attenta::PerformerOptions options) {
    options.key_max = x.array("key_max");
    return options;
}
inline void call(const LinearViews& x, const attenta::PerformerOptions& options, Out o, LinearState& s, Context& c) {
    attenta::performer(x["q"], x["k"], x["v"], matrices(x["projection"]), o, s, borrowing(x, options), c);
}
inline NaiveLinear naive(const LinearViews& x, const attenta::PerformerOptions& options, const LinearState& past) {
    return naive_performer(x["q"], x["k"], x["v"], matrices(x["projection"]), past, borrowing(x, options));
}

using LinearOptions = std::variant<attenta::KernelLinearOptions, attenta::PerformerOptions, attenta::LightningOptions,
                                   attenta::RetentionOptions, attenta::Mamba2Options, attenta::GlaOptions,
                                   attenta::Rwkv6Options, attenta::Hgrn2Options, attenta::DeltaRuleOptions,
                                   attenta::GatedDeltaRuleOptions, attenta::KdaOptions, attenta::Rwkv7Options>;

inline void call(const LinearViews& views, const LinearOptions& options, Out o, LinearState& state, Context& context) {
    std::visit([&](const auto& x) { call(views, x, o, state, context); }, options);
}

}  // namespace attenta_test
