#include <attenta/catalog.hpp>

#include <algorithm>

#include "arguments.hpp"
#include "declared.hpp"
#include "rows.hpp"

ATTENTA_BEGIN

Tensors Mechanism::run(const CaseInputs& given, Context& context) const {
    check_sizes(*this, given.tensors);
    Arguments arguments(name, given, outputs);
    call(arguments, context);
    return arguments.take_outputs();
}

std::span<const Mechanism> mechanisms() {
    static const std::vector<Mechanism> all = [] {
        std::vector<Mechanism> rows;
        for (const auto family : {softmax_rows(), linear_rows(), sparse_rows(), kv_rows(), latent_rows(),
                                  lowrank_rows(), variant_rows(), gating_rows(), analysis_rows()})
            rows.insert(rows.end(), family.begin(), family.end());
        return rows;
    }();
    return all;
}

const Mechanism* find_mechanism(std::string_view family, std::string_view name) {
    const auto all = mechanisms();
    const auto row =
        std::find_if(all.begin(), all.end(), [&](const Mechanism& m) { return m.family == family && m.name == name; });
    return row == all.end() ? nullptr : &*row;
}

ATTENTA_END
