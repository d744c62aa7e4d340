// A row of the catalog from an eviction policy.
#pragma once

#include <attenta/catalog.hpp>
#include <attenta/kv/eviction/evictor.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

/// What is written about a policy, in words, and how wide its output `kept` is.
struct PolicyAbout {
    std::string_view name, summary, source, cost;
    std::string inputs = "";   ///< ", rand [T, Hkv]"
    std::string outputs = "";  ///< ", policy [Hkv] I64"
};

/// A policy's options and those of every run.
template <class Options>
struct RunOptions : Options {
    std::int64_t prompt = 1;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("prompt", o.prompt, "tokens before decoding begins");
        Options::fields(visit, o);
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

/// A run over q [T, Hq, D], k [T, Hkv, D], v [T, Hkv, Dv]: the prompt at once, then token after token.
class EvictionRun {
public:
    /// Reads the inputs, all of which are finite.
    explicit EvictionRun(Arguments& args);

    Heads<const float> q() const { return q_; }
    Heads<const float> k() const { return k_; }
    Heads<const float> v() const { return v_; }
    std::int64_t tokens() const { return q_.tokens; }
    std::int64_t query_heads() const { return q_.heads; }
    std::int64_t kv_heads() const { return k_.heads; }
    std::int64_t dim() const { return k_.dim; }

    /// Rotates q and k by their positions in the text, in halves.
    void rotate(float rope_base, Context& context);

    /// Outputs `o` of the tokens behind the prompt, and `kept` [Hkv, width] padded with -1. after_prompt() is called before
    /// the first token is decoded.
    void operator()(EvictionPolicy& policy, std::int64_t prompt, std::optional<float> scale, std::int64_t width,
                    Context& context, const std::function<void(const Evictor&)>& after_prompt = {});
    /// Output `kept` [Hkv, width] alone, after a prompt of all tokens.
    void kept_of_prompt(EvictionPolicy& policy, std::optional<float> scale, Context& context);

private:
    void give_kept(const Evictor& evictor, std::int64_t* kept, std::int64_t width) const;

    Arguments& args_;
    Heads<const float> q_, k_, v_;
    std::vector<float> rotated_q_, rotated_k_;
};

/// Columns of `kept`, from the options and the number of decoded tokens.
template <class Options>
std::int64_t budget_width(const Options& options, std::int64_t) {
    return options.budget;
}
/// Of heads that may hold any number of tokens.
template <class Options>
std::int64_t all_tokens(const RunOptions<Options>& options, std::int64_t steps) {
    return options.prompt + steps;
}

template <class Policy, auto width = budget_width<typename Policy::Options>>
void call_policy(Arguments& args, Context& context) {
    EvictionRun run(args);
    const auto options = args.options<RunOptions<typename Policy::Options>>();
    Policy policy(options);
    run(policy, options.prompt, options.scale, width(options, run.tokens() - options.prompt), context);
}

template <class Policy>
Mechanism policy_row(const PolicyAbout& about, void (*call)(Arguments&, Context&) = call_policy<Policy>) {
    return {.name = about.name,
            .family = "kv",
            .summary = about.summary,
            .source = about.source,
            .cost = about.cost,
            .inputs = "q [T, Hq, D], k [T, Hkv, D], v [T, Hkv, Dv]" + about.inputs,
            .outputs = "o [T - prompt, Hq, Dv], kept [Hkv, width] I64" + about.outputs,
            .parameters = parameters_of<RunOptions<typename Policy::Options>>,
            .call = call};
}

}  // namespace rows

ATTENTA_END
