#include "bench/latent/latent.hpp"

#include "bench/latent/peers.hpp"
#include "bench/normals.hpp"
#include "bench/require_near.hpp"
#include "bench/ruler/registration.hpp"
#include "bench/ruler/roofline.hpp"
#include "bench/ruler/sampling.hpp"

#include <attenta/core/isa.hpp>
#include <attenta/latent.hpp>
#include <attenta/softmax.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace bench {
namespace {

using attenta::Dtype, attenta::Heads, attenta::KvView, attenta::LatentForm;

std::string name_of(const std::string& name, const std::vector<std::pair<const char*, std::int64_t>>& sizes) {
    return with_sizes("latent/" + name, sizes);
}

/// A cache of one layer in f32 or bf16, latents and rotary keys side by side.
class Latents {
public:
    Latents(std::int64_t tokens, std::int64_t latent, std::int64_t rope, Dtype type)
        : rows_(1, tokens, latent + rope), latent_(latent), rope_(rope), type_(type) {
        if (type != Dtype::bf16) return;
        const Heads<const float> x = rows_.view();
        for (std::int64_t i = 0; i < tokens * (latent + rope); ++i)
            halves_.push_back(static_cast<attenta::bfloat16>(x.data[i]));
    }
    KvView view() const {
        if (type_ == Dtype::bf16) return view(halves_.data());
        return view(std::as_const(rows_).view().data);
    }
    std::int64_t row_bytes() const { return (latent_ + rope_) * attenta::size_of(type_); }

private:
    template <class T>
    KvView view(const T* rows) const {
        const attenta::Strides strides{.token_stride = latent_ + rope_};
        const std::int64_t tokens = std::as_const(rows_).view().tokens;
        return attenta::latent_cache(attenta::hnd(rows, 1, tokens, latent_, strides),
                                     attenta::hnd(rows + latent_, 1, tokens, rope_, strides));
    }

    Normals rows_;
    std::int64_t latent_, rope_;
    Dtype type_;
    std::vector<attenta::bfloat16> halves_;
};

struct MlaShape {
    const char* phase;
    std::int64_t Hq, R, Dr, Dn, Dv, Tq, Tk;
    int layers;
};
constexpr MlaShape mla_shapes[] = {{"decode", 128, 512, 64, 128, 128, 1, 8192, 4},
                                   {"decode", 16, 512, 64, 128, 128, 1, 32768, 2},
                                   {"prefill", 16, 512, 64, 128, 128, 2048, 2048, 1}};

std::vector<std::pair<const char*, std::int64_t>> sizes_of(const MlaShape& s) {
    return {{"Hq", s.Hq}, {"R", s.R}, {"Dr", s.Dr}, {"Dn", s.Dn}, {"Dv", s.Dv}, {"Tq", s.Tq}, {"Tk", s.Tk}};
}

/// Multiply-adds, and bytes that have to be read.
struct Work {
    double products, bytes;

    double seconds(const Limits& limits) const { return std::max(2 * products / limits.flops, bytes / limits.bytes); }
};

/// The attention of a form, and its projections, which run before and after it: weights come from memory meanwhile, and no
/// product of the attention can fill that time.
std::array<Work, 2> work_of(const MlaShape& s, LatentForm form, std::int64_t row_bytes) {
    const auto n = [](std::int64_t x) { return static_cast<double>(x); };
    const bool expanded = form == LatentForm::expanded;
    const double pairs = n(s.Tq) * (n(s.Tk) - (n(s.Tq) - 1) / 2), weights = n(s.Hq * s.R * (s.Dn + s.Dv));
    return {Work{n(s.Hq) * pairs * n(expanded ? s.Dn + s.Dr + s.Dv : 2 * s.R + s.Dr), n(s.Tk * row_bytes)},
            Work{n(expanded ? s.Tk : s.Tq) * weights, weights * sizeof(float)}};
}

void run_mla(benchmark::State& state, const MlaShape& s, LatentForm form, Dtype type) {
    std::deque<Latents> layers;
    std::deque<Normals> keys, values;
    for (int i = 0; i < s.layers; ++i) {
        layers.emplace_back(s.Tk, s.R, s.Dr, type);
        keys.emplace_back(s.Hq, s.Dn, s.R);
        values.emplace_back(s.Hq, s.Dv, s.R);
    }
    const Normals q_nope(s.Hq, s.Tq, s.Dn), q_pe(s.Hq, s.Tq, s.Dr);
    Normals o(s.Hq, s.Tq, s.Dv);
    attenta::MlaOptions options;
    const auto run = [&](LatentForm how) {
        return [&, how](std::size_t i) {
            const std::size_t layer = i % layers.size();
            options.form = how;
            attenta::mla({q_nope.view(), q_pe.view(), layers[layer].view(), std::as_const(keys[layer]).view(),
                          std::as_const(values[layer]).view()},
                         {o.view(), nullptr}, options);
        };
    };
    const attenta::Isa isa = attenta::active_isa();
    Limits limits = measure_limits(1, isa);
    Sample sampled;
    if (s.Tq == 1) {
        for (auto _ : state) sampled = sample(run(form));
    } else {
        const LatentForm other = form == LatentForm::expanded ? LatentForm::absorbed : LatentForm::expanded;
        std::array<Sample, 2> both;
        for (auto _ : state) both = sample_in_turn(run(form), run(other));
        sampled = both[0];
        state.counters["other_form_ratio"] = both[1].seconds / both[0].seconds;
    }
    limits = around(limits, measure_limits(1, isa));
    hand_over(sampled, state);
    const auto [attention, projections] = work_of(s, form, layers[0].row_bytes());
    state.counters["of_peak"] = 2 * (attention.products + projections.products) / limits.flops / sampled.seconds;
    state.counters["of_stream"] = (attention.bytes + projections.bytes) / limits.bytes / sampled.seconds;
    state.counters["of_roof"] = (attention.seconds(limits) + projections.seconds(limits)) / sampled.seconds;
    state.counters["bytes_per_token"] = static_cast<double>(layers[0].row_bytes());
}

/// Absorbed queries in the place of projected ones; checked against ours on the first layer.
void run_latent_peer(benchmark::State& state, const MlaShape& s, const LatentPeer& peer) {
    std::deque<Normals> layers;
    for (int i = 0; i < s.layers; ++i) layers.emplace_back(1, s.Tk, s.R + s.Dr);
    const Normals q(s.Hq, 1, s.R + s.Dr);
    Normals ours(s.Hq, 1, s.R), theirs(s.Hq, 1, s.R);
    LatentProblem problem{q.view(), {}, theirs.view(), 1 / std::sqrt(static_cast<float>(s.Dn + s.Dr))};
    for (const Normals& rows : layers) problem.layers.push_back(rows.view());
    const auto run = peer.prepare(problem);
    run(0);
    Heads<const float> values = problem.layers[0];
    values.dim = s.R;
    attenta::softmax_attention(problem.q, problem.layers[0], values, ours.view(), {.scale = problem.scale});
    const auto size = static_cast<std::size_t>(s.Hq * s.R);
    require_near(std::string(peer.library) + ": o", {theirs.view().data, size}, {ours.view().data, size}, 1e-3);
    Sample sampled;
    for (auto _ : state) sampled = sample([&](std::size_t i) { run(i % problem.layers.size()); });
    hand_over(sampled, state);
    state.counters["bytes_per_token"] = static_cast<double>((s.R + s.Dr) * 4);
}

struct TiedShape {
    const char* phase;
    std::int64_t Hq, Hkv, D, Dr, Tq, Tk;
};
constexpr TiedShape tied_shapes[] = {{"decode", 32, 8, 128, 64, 1, 32768}, {"prefill", 8, 2, 128, 64, 2048, 2048}};

void run_tied(benchmark::State& state, const TiedShape& s) {
    const Normals q(s.Hq, s.Tq, s.D), u(s.Hkv, s.Tk, s.D), k_pe(1, s.Tk, s.Dr), k(s.Hkv, s.Tk, s.D);
    Normals o(s.Hq, s.Tq, s.D);
    const KvView tied = attenta::tied_cache(u.view(), k_pe.view());
    std::array<Sample, 2> both;
    for (auto _ : state)
        both = sample_in_turn(
            [&](std::size_t) { attenta::grouped_tied(q.view(), tied, o.view(), {.causal = true}); },
            [&](std::size_t) { attenta::softmax_attention(q.view(), k.view(), u.view(), o.view(), {.causal = true}); });
    hand_over(both[0], state);
    state.counters["softmax_ratio"] = both[1].seconds / both[0].seconds;
    state.counters["bytes_per_token"] = static_cast<double>((s.Hkv * s.D + s.Dr) * 4);
}

}  // namespace

void register_latent() {
    for (const MlaShape& s : mla_shapes)
        for (const LatentPeer& peer : Added<LatentPeer>::all())
            if (s.Tq == 1)
                register_benchmark(name_of(std::string(peer.library) + "/mla/absorbed/decode/f32", sizes_of(s)),
                                   [&s, &peer](benchmark::State& state) { run_latent_peer(state, s, peer); });
    for (const MlaShape& s : mla_shapes)
        for (const LatentForm form : {LatentForm::absorbed, LatentForm::expanded})
            for (const Dtype type : {Dtype::f32, Dtype::bf16}) {
                const bool decode = s.Tq == 1;
                if ((decode && form == LatentForm::expanded) || (!decode && type == Dtype::bf16)) continue;
                const std::string name = std::string("attenta/mla/") +
                                         std::string(names_of(form)[static_cast<std::size_t>(form)]) + '/' + s.phase +
                                         '/' + attenta::name(type);
                register_benchmark(name_of(name, sizes_of(s)),
                                   [&s, form, type](benchmark::State& state) { run_mla(state, s, form, type); });
            }
    for (const TiedShape& s : tied_shapes)
        register_benchmark(
            name_of(std::string("attenta/grouped_tied/") + s.phase + "/f32",
                    {{"Hq", s.Hq}, {"Hkv", s.Hkv}, {"D", s.D}, {"Dr", s.Dr}, {"Tq", s.Tq}, {"Tk", s.Tk}}),
            [&s](benchmark::State& state) { run_tied(state, s); });
}

}  // namespace bench
