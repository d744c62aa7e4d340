// Eviction policies and sparse selections by name, and what they keep of a layer.
#pragma once

#include "kept_pairs.hpp"

#include <attenta/catalog.hpp>
#include <attenta/softmax/softmax.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace view {

/// What attention reads in a layer.
struct LayerInputs {
    attenta::Heads<const float> q, k, v;  ///< v without data where there is none
    attenta::SoftmaxOptions options;
    const attenta::Tensors* others = nullptr;  ///< a case's further inputs, which selections may read; or null
};

/// A policy of caches.hpp over one layer: `prefill` tokens are read at once, the rest one by one.
struct Policy {
    std::string name;
    std::int64_t budget = 0;  ///< tokens kept per K/V head
    std::int64_t prefill = 0;
};

/// A sparse mechanism of the catalog with its parameters.
struct Selection {
    std::string name;
    std::string parameters = "{}";  ///< a JSON object
};

std::vector<std::string> policy_names();
std::vector<std::string> selection_names();
bool is_selection(std::string_view name);
/// The queries of the selection see the keys up to their own, unless its parameters say otherwise.
bool is_causal_selection(std::string_view name);

/// NAME or NAME:PARAMETER=VALUE:…, values as in CaseSettings. Throws Error on names that there are not.
Selection selection_of(const std::string& text);

/// Throws Error where the selection sees the keys up to a query's own and the attention others: what it drops would not
/// be what it decides.
void require_fit(const Selection& selection, const LayerInputs& x);

/// Throw Error on names that there are not, on what the policy or the mechanism refuses, and for policies on attention
/// that is not causal, of other than one query for each key, or edited.
std::unique_ptr<KeptPairs> kept_by(const Policy& policy, const LayerInputs& x, attenta::Context& context);
std::unique_ptr<KeptPairs> kept_by(const Selection& selection, const LayerInputs& x, attenta::Context& context);

}  // namespace view
