// Policies that score by attention.
#include <attenta/kv/policies/h2o.hpp>
#include <attenta/kv/policies/snapkv.hpp>

#include <vector>

#include "../kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

std::int64_t snapkv_width(const SnapkvOptions& options, std::int64_t steps) {
    return options.budget + (options.decode == SnapkvDecode::grow ? steps : 0);
}

}  // namespace

std::vector<Mechanism> attention_policy_rows() {
    return {
        policy_row<H2o>({.name = "h2o",
                         .summary = "the newest tokens and those with the most accumulated attention stay",
                         .source = "Zhang et al. 2023, H2O, algorithm 1",
                         .cost = "O(n) per step, one sum per token and K/V head"}),
        policy_row<Snapkv>({.name = "snapkv",
                            .summary = "the prompt is compressed to what its last queries look at",
                            .source = "Li et al. 2024, SnapKV, section 4",
                            .cost = "window·P·D after the prompt, no state"},
                           call_policy<Snapkv, snapkv_width>),
    };
}

}  // namespace rows

ATTENTA_END
