#include "bench/linear/mechanisms.hpp"

#include <attenta/linear/delta_rule.hpp>
#include <attenta/linear/gated_delta_rule.hpp>
#include <attenta/linear/gla.hpp>
#include <attenta/linear/hgrn2.hpp>
#include <attenta/linear/kda.hpp>
#include <attenta/linear/kernel_linear.hpp>
#include <attenta/linear/lightning.hpp>
#include <attenta/linear/mamba2.hpp>
#include <attenta/linear/performer.hpp>
#include <attenta/linear/retention.hpp>
#include <attenta/linear/rwkv6.hpp>
#include <attenta/linear/rwkv7.hpp>

#include <stdexcept>
#include <string>

namespace bench {
namespace {

using In = const LinearInputs&;
using Out = attenta::Heads<float>;
using State = attenta::LinearState&;
using Context = attenta::Context&;

constexpr LinearMechanism all[] = {
    {"kernel_linear",
     [](In x, Out o, State s, Context c) { attenta::kernel_linear(x.q, x.k, x.v, o, s, {.causal = true}, c); },
     naive::kernel_linear},
    {"performer",
     [](In x, Out o, State s, Context c) {
         attenta::performer(x.q, x.k, x.v, x.features, o, s, {.causal = true, .key_max = x.key_max}, c);
     },
     naive::performer},
    {"lightning", [](In x, Out o, State s, Context c) { attenta::lightning(x.q, x.k, x.v, x.g_head, o, s, {}, c); },
     naive::lightning},
    {"retention",
     [](In x, Out o, State s, Context c) { attenta::retention(x.q, x.k, x.v, x.g_head, o, s, {.theta = x.theta}, c); },
     naive::retention},
    {"mamba2",
     [](In x, Out o, State s, Context c) { attenta::mamba2(x.v, x.dt, x.A, x.group(x.k), x.group(x.q), o, s, {}, c); },
     naive::mamba2},
    {"gla", [](In x, Out o, State s, Context c) { attenta::gla(x.q, x.k, x.v, x.g, o, s, {}, c); }, naive::gla},
    {"rwkv6", [](In x, Out o, State s, Context c) { attenta::rwkv6(x.q, x.k, x.v, x.g, x.u, o, s, {}, c); },
     naive::rwkv6},
    {"hgrn2", [](In x, Out o, State s, Context c) { attenta::hgrn2(x.q, x.v, x.g, o, s, {}, c); }, naive::hgrn2},
    {"delta_rule", [](In x, Out o, State s, Context c) { attenta::delta_rule(x.q, x.k, x.v, x.beta, o, s, {}, c); },
     naive::delta_rule},
    {"gated_delta_rule",
     [](In x, Out o, State s, Context c) { attenta::gated_delta_rule(x.q, x.k, x.v, x.g_token, x.beta, o, s, {}, c); },
     naive::gated_delta_rule},
    {"kda", [](In x, Out o, State s, Context c) { attenta::kda(x.q, x.k, x.v, x.g, x.beta, o, s, {}, c); }, naive::kda},
    {"rwkv7", [](In x, Out o, State s, Context c) { attenta::rwkv7(x.q, x.k, x.v, x.a, x.b, x.g, o, s, {}, c); },
     naive::rwkv7},
};

}  // namespace

std::span<const LinearMechanism> linear_mechanisms() { return all; }

const LinearMechanism& linear_mechanism(std::string_view name) {
    for (const LinearMechanism& m : all)
        if (m.name == name) return m;
    throw std::invalid_argument("no linear mechanism " + std::string(name));
}

}  // namespace bench
