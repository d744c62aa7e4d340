#include <attenta/variants.hpp>

#include <cstdint>
#include <span>
#include <vector>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

namespace rows {

std::vector<Mechanism> variant_normaliser_rows(), network_rows(), structured_rows(), variant_structured_rows();

}  // namespace rows

namespace {

/// Rows become columns: [rows, columns] -> [columns, rows].
void transpose(const float* x, std::int64_t rows, std::int64_t columns, float* to) {
    for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; ++j) to[j * rows + i] = x[i * columns + j];
}

void call_damped_ema(Arguments& args, Context& context) {
    const auto x = args.inputs<DampedEmaInputs>();
    const auto options = args.options<DampedEmaOptions>();
    LinearState state;
    if (args.has("state")) {
        const auto given = args.array<float>("state", {any_size, any_size});
        state = LinearState(1, given.shape[1], given.shape[0]);
        transpose(given.data, given.shape[0], given.shape[1], state.matrix.data());
    }
    const std::int64_t tokens = x.x.rows, channels = x.x.cols;
    damped_ema(x, {args.output<float>("o", {tokens, channels}), 1, tokens, channels}, state, options, context);
    if (!options.bidirectional)
        transpose(state.matrix.data(), state.dim, state.dim_v, args.output<float>("state", {state.dim_v, state.dim}));
}

}  // namespace

std::span<const Mechanism> variant_rows() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> list = {
            {.name = "damped_ema",
             .family = "variants",
             .summary = "damped moving averages of each channel, in one direction or both (Mega)",
             .source = "Ma et al. 2022, eq. 5-6",
             .cost = "time T D N, state D N",
             .inputs = text_of(InputList(DampedEmaInputs{}), "state [D, N]"),
             .outputs = "o [T, D], state [D, N] in one direction",
             .parameters = parameters_of<DampedEmaOptions>,
             .call = call_damped_ema,
             .list = [] { return InputList(DampedEmaInputs{}).copy(); }},
        };
        for (const auto& part : {rows::variant_normaliser_rows(), rows::network_rows(), rows::structured_rows(),
                                 rows::variant_structured_rows()})
            list.insert(list.end(), part.begin(), part.end());
        return list;
    }();
    return all;
}

ATTENTA_END
