// The scan: linear attention and fast-weight memories. A state per head, changed by every token.
//
//     S_t = D_t S_{t-1} + update(k_t, v_t, ...),    o_t = scale · S_tᵀ q_t  (or of S_{t-1}, with a bonus)
//
// In chunks of tokens: matrix products inside a chunk, the state between chunks (scan/loop.hpp). A handful of tokens go
// step by step; both give the same numbers. What a mechanism chooses:
//   decay    none, per head, per token, per token and key channel (the shape of `g` says which); value channels: `gv`
//   update   additive:  k v'ᵀ with v' = beta v (beta 1 if not given)
//            delta:     k n'ᵀ with n' = beta (v − (D S)ᵀ p), or of S before its decay; p is a, or k without it
//            low_rank:  k vᵀ + b (aᵀ S)
//            gates that erase and write: p ⊙ erase in place of p, v ⊙ write in place of v
//   read     after the update, or before it with the token itself weighted by the bonus u
//   maps     features of q and k, row by row, inside a chunk (scan/features.hpp)
//   finish   what becomes of a row's sum of weights: a factor of the row
// Decays are products of exp(g) <= 1 over tokens of one chunk, never quotients; what goes from chunk to chunk is the
// exponential of a sum in double.
//
// Where the other mechanisms of the family attach: running log-maxima and rotations are maps and companions of
// LinearState; several states are several runs; heads of a task that share queries and keys share their products. Recurrences
// whose channels do not mix (mamba, hgrn, rwkv4_wkv) have a loop of their own, engine/elementwise.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstdint>
#include <span>

ATTENTA_BEGIN

namespace scan {

/// A row to be mapped. `position` counts tokens of the call's tensor.
struct FeatureRow {
    const void* parameters = nullptr;
    std::int64_t dim = 0, features = 0;  ///< of the input, of the output
    std::int64_t head = 0, position = 0;
    std::int64_t state_head = 0;  ///< that the row feeds or reads; not told to maps that take rows together
};
/// y[features] from x[dim]; returns the binary logarithm of the factor that was taken out of y, usually 0.
using FeatureFunction = float (*)(const FeatureRow& row, const float* x, float* y);
/// `count` rows, `x_stride` and `y_stride` apart: tokens of a head, or with `heads` the heads of a token.
struct FeatureRows {
    FeatureRow first;
    std::int64_t count = 0, x_stride = 0, y_stride = 0;
    bool heads = false;
    std::span<const float> prefetch = {};  ///< needed next: may be prefetched beside the work
};
using FeatureRowsFunction = void (*)(const FeatureRows& rows, const float* x, float* y);
struct FeatureMap {
    FeatureFunction function = nullptr;  ///< null, and no `together`: y = x
    const void* parameters = nullptr;
    FeatureRowsFunction together =
        nullptr;  ///< instead, for maps that are cheaper for several rows; takes no factor out
    explicit operator bool() const { return function || together; }
};

/// The factor of an output row, from the sum of its weights (without `scale`) and the binary logarithm that the query's
/// map gave.
struct Finish {
    float (*factor)(const void* parameters, std::int64_t head, std::int64_t token, float sum, float log) = nullptr;
    const void* parameters = nullptr;
};

/// How two rows of features multiply, where these are products of a few numbers: one + x + square x², x the product of
/// channels 1 .. channels. Pairs of a chunk then take those channels alone.
struct Polynomial {
    std::int64_t channels = 0;  ///< 0: products take all of them
    float one = 0, square = 0;
};

enum class Update : std::uint8_t { additive, delta, low_rank };

/// What a mechanism asks of the engine. Everything is borrowed. Views without data are not given.
struct Request {
    const char* function = "scan";
    Heads<const float> q = {}, k = {}, v = {};
    Heads<const float> g = {}, gv = {}, beta = {}, u = {}, a = {}, b = {}, erase = {}, write = {};
    std::int64_t features = 0;  ///< width of mapped q and k; 0: their own
    FeatureMap q_map = {}, k_map = {}, a_map = {};
    Polynomial polynomial = {};  ///< of additive updates, without decays by channel
    Update update = Update::additive;
    bool read_before = false;
    bool predict_before = false;  ///< delta: n' is made with the state before the token's decay
    bool causal = true;           ///< query i stands at Tk - Tq + i; otherwise every query reads all keys
    bool lengths_differ = false;  ///< queries need not be as many as keys; causal ones are no more
    float scale = 1;
    Finish finish = {};
    bool normalizer = false;       ///< the state has one, and `finish` gets the sum of weights
    std::int64_t state_heads = 0;  ///< 0: max(Hk, Hv)
    Heads<float> added = {};       ///< delta: receives n' of all tokens, [state_heads, T, Dv]; may be v itself
    bool keeps_states = false;     ///< this run is the whole call: it fills the state's snapshots
    std::int64_t key_maxima = 0;   ///< numbers of key_max in a snapshot, which the mechanism fills behind the run
};

/// The inputs, the request that was made of them, the state and the output fit; throws Error. `check_data`: no NaN, no
/// gate above 0.
void check(const Request& request, std::span<const Input> inputs, Heads<float> o, const LinearState& state,
           bool check_data);

/// Runs a checked request. An empty state becomes zeros. Where memory is lacking, nothing has changed.
void run(const Request& request, Heads<float> o, LinearState& state, Context& context);

/// For mechanisms that have nothing of their own to check or to prepare in between.
template <class Inputs>
void check_and_run(const Inputs& inputs, Request request, Heads<float> o, LinearState& state, bool check_data,
                   Context& context) {
    request.keeps_states = request.causal && !request.lengths_differ;
    check(request, InputList(inputs), o, state, check_data);
    run(request, o, state, context);
}

/// What `run` takes memory for. A mechanism of several runs, or one that changes the state itself, calls these before:
/// its runs then need no more. Scratch for all tokens of the request and for any part of them; zeros for an empty state.
void reserve(const Request& request, Context& context);
void begin_state(const Request& request, LinearState& state);

}  // namespace scan

ATTENTA_END
