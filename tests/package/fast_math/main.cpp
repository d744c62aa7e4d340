// Compiled with -ffast-math, which lets the compiler forget infinities and NaN: attenta must not. Here they are written
// and read as bits.
#include <attenta/attenta.hpp>
#include <attenta/linear.hpp>
#if defined(ATTENTA_HEADERS)
#include <attenta/engine/score/own_edit.hpp>
#endif

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

namespace {

constexpr std::uint32_t infinity_bits = 0x7f800000u, nan_bits = 0x7fc00000u;
const float nan = std::bit_cast<float>(nan_bits), minus_infinity = std::bit_cast<float>(infinity_bits | 0x80000000u);

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }
bool is_nan(float x) { return (bits(x) & 0x7fffffffu) > infinity_bits; }
bool is_minus_infinity(float x) { return bits(x) == bits(minus_infinity); }

bool failed = false;
void check(bool holds, const char* what) {
    if (holds) return;
    failed = true;
    std::printf("does not hold: %s\n", what);
}

std::vector<float> normal(std::int64_t size, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> distribution;
    std::vector<float> x(static_cast<std::size_t>(size));
    for (float& value : x) value = distribution(generator);
    return x;
}

/// One head, causal, the first query at position -3: the first three queries see nothing.
struct Causal {
    static constexpr std::int64_t D = 20, hidden = 3;
    std::int64_t tokens;
    std::vector<float> q = normal(tokens * D, 1), k = normal(tokens * D, 2), v = normal(tokens * D, 3);
    std::vector<float> o = std::vector<float>(q.size()), lse = std::vector<float>(static_cast<std::size_t>(tokens));

    attenta::Heads<float> view(std::vector<float>& x) const { return attenta::hnd(x.data(), 1, tokens, D); }
    std::span<const float> row(std::int64_t i) const { return {&o[static_cast<std::size_t>(i * D)], D}; }
    float lse_of(std::int64_t i) const { return lse[static_cast<std::size_t>(i)]; }

    void run(attenta::SoftmaxOptions options = {}) {
        options.causal = true;
        options.q_offset = -hidden;
        attenta::softmax_attention(view(q), view(k), view(v), view(o), options, lse.data());
    }

    double expected_lse(std::int64_t i) const {
        double sum = 0;
        for (std::int64_t j = 0; j <= i - hidden; ++j) {
            double s = 0;
            for (std::int64_t d = 0; d < D; ++d)
                s += double{q[static_cast<std::size_t>(i * D + d)]} * double{k[static_cast<std::size_t>(j * D + d)]};
            sum += std::exp(s / std::sqrt(double{D}));
        }
        return std::log(sum);
    }
};

void check_rows(std::int64_t tokens) {
    Causal clean{tokens}, spoiled{tokens};
    clean.run();
    const std::int64_t bad = tokens / 2;
    spoiled.k[static_cast<std::size_t>(bad * Causal::D + 1)] = nan;
    spoiled.run();
    for (std::int64_t i = 0; i < tokens; ++i) {
        if (i < Causal::hidden) {
            check(is_minus_infinity(clean.lse_of(i)), "a row that sees no key has lse = -inf");
            for (const float x : clean.row(i)) check(bits(x) == 0, "a row that sees no key has o = 0");
        } else {
            check(std::abs(double{clean.lse_of(i)} - clean.expected_lse(i)) < 1e-5, "lse is its definition");
        }
        for (std::size_t d = 0; d < clean.row(i).size(); ++d)
            if (i < bad + Causal::hidden)
                check(bits(spoiled.row(i)[d]) == bits(clean.row(i)[d]), "NaN stays out of rows that do not see it");
            else
                check(is_nan(spoiled.row(i)[d]), "NaN shows in the rows that see it");
    }
}

void check_refusal() {
    try {
        Causal{9}.run({.scale = nan});
        check(false, "a scale of NaN is refused");
    } catch (const attenta::Error&) {
    }
}

void check_merge() {
    const float o_parts[] = {nan, 2.f}, lse_parts[] = {minus_infinity, 0.5f},
                empty[] = {minus_infinity, minus_infinity};
    float o = -1, lse = -1;
    attenta::merge_state(o_parts, lse_parts, 2, 1, 1, 1, &o, &lse);
    check(o == 2.f && lse == 0.5f, "a part with lse = -inf is neutral");
    attenta::merge_state(o_parts, empty, 2, 1, 1, 1, &o, &lse);
    check(bits(o) == 0 && is_minus_infinity(lse), "without a part o = 0 and lse = -inf");
}

/// A gate of -inf forgets all that was before: o_t = scale · (q_t · k_t) v_t.
void check_closed_gate() {
    Causal x{70};
    std::vector<float> gate(x.q.size(), -0.1f);
    const std::int64_t t = 41;
    for (std::int64_t d = 0; d < Causal::D; ++d) gate[static_cast<std::size_t>(t * Causal::D + d)] = minus_infinity;
    attenta::LinearState state;
    attenta::gla({x.view(x.q), x.view(x.k), x.view(x.v), x.view(gate)}, x.view(x.o), state, {.scale = 1.f});
    float score = 0;
    for (std::int64_t d = 0; d < Causal::D; ++d) score += x.view(x.q).row(0, t)[d] * x.view(x.k).row(0, t)[d];
    for (std::int64_t d = 0; d < Causal::D; ++d)
        check(std::abs(x.row(t)[static_cast<std::size_t>(d)] - score * x.view(x.v).row(0, t)[d]) < 1e-4f,
              "a gate of -inf forgets what was before");
}

#if defined(ATTENTA_HEADERS)
/// Functions of attenta inside code of one's own.
struct OwnSoftCap {
    template <class Arch>
    void operator()(attenta::Tile<Arch> tile) const {
        tile.map([](auto s) { return attenta::simd::tanh<Arch>(s * 0.2f) * 5.f; });
    }
};
ATTENTA_DEFINE_EDIT(OwnSoftCap)

void check_own_edit() {
    Causal built_in{9}, own{9};
    built_in.run({.softcap = 5});
    own.run({.edits = {edit(OwnSoftCap{})}});
    for (std::int64_t i = Causal::hidden; i < own.tokens; ++i)
        check(std::abs(own.lse_of(i) - built_in.lse_of(i)) < 1e-5f, "an edit of one's own computes as attenta does");
}
#else
void check_own_edit() {}
#endif

}  // namespace

int main() {
    check_rows(9);    // rows of one call, unpacked
    check_rows(200);  // tiles
    check_refusal();
    check_merge();
    check_closed_gate();
    check_own_edit();
    std::printf("attenta on %s\n", attenta::name(attenta::active_isa()));
    return failed ? 1 : 0;
}
