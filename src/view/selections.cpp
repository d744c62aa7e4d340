#include "overlays.hpp"

#include <attenta/sparse.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <vector>

#include "arguments.hpp"

namespace view {

namespace {

using attenta::Arguments;
using attenta::CaseInputs;
using attenta::Context;
using attenta::Heads;
using attenta::KeyLists;
using attenta::SparseFunction;
using attenta::SparseOutputs;
using attenta::Tensor;
using attenta::Tensors;

/// The keys that a mechanism reads, by its own call.
template <auto function>
KeyLists lists_of(std::string_view name, const CaseInputs& given, Context& context) {
    Arguments args(name, given);
    const auto x = args.inputs<typename SparseFunction<function>::Inputs>();
    const auto options = args.options<typename SparseFunction<function>::Options>();
    const std::int64_t size =
        attenta::saturating::multiply(attenta::saturating::multiply(x.q.heads, x.q.tokens), x.kv.v.dim);
    std::vector<float> o(static_cast<std::size_t>(size));
    KeyLists lists;
    typename SparseFunction<function>::Outputs out{
        SparseOutputs{.o = attenta::hnd(o.data(), x.q.heads, x.q.tokens, x.kv.v.dim), .lists = &lists}};
    function(x, out, options, context);
    return lists;
}

struct Row {
    std::string_view name;
    KeyLists (*lists)(std::string_view name, const CaseInputs& given, Context& context);
    bool causal = true;
};

/// Those whose lists are what their queries read, apart from keys that a causal query does not see.
constexpr auto rows = std::to_array<Row>({
    {"quest", lists_of<&attenta::quest>},
    {"moba", lists_of<&attenta::moba>},
    {"xattention", lists_of<&attenta::xattention>},
    {"retrieval", lists_of<&attenta::retrieval>},
    {"loki", lists_of<&attenta::loki>},
    {"sparsek", lists_of<&attenta::sparsek>},
    {"dsa", lists_of<&attenta::dsa>},
    {"msa", lists_of<&attenta::msa>},
    {"qsa", lists_of<&attenta::qsa>},
    {"strided", lists_of<&attenta::strided>},
    {"fixed", lists_of<&attenta::fixed>},
    {"local_global", lists_of<&attenta::local_global>},
    {"star", lists_of<&attenta::star>},
    {"block_rag", lists_of<&attenta::block_rag>},
    {"csr", lists_of<&attenta::csr>},
    {"block_sparse", lists_of<&attenta::block_sparse>},
    {"bigbird", lists_of<&attenta::bigbird>, false},
    {"local_chunk", lists_of<&attenta::local_chunk>, false},
    {"head_strides", lists_of<&attenta::head_strides>, false},
});

const Row* find(std::string_view name) {
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
    return found == rows.end() ? nullptr : &*found;
}

class Selected final : public KeptPairs {
public:
    Selected(KeyLists lists, std::int64_t query_heads) : lists_(std::move(lists)), query_heads_(query_heads) {}

    void row(std::int64_t head, std::int64_t query, std::int64_t first, std::span<bool> kept) const override {
        const KeyLists::Shape& shape = lists_.shape();
        const std::int64_t of_head = head * shape.heads / query_heads_,
                           row = shape.query_step > 0 ? query % shape.query_step : query / shape.query_block,
                           last = first + std::ssize(kept);
        std::fill(kept.begin(), kept.end(), false);
        const auto runs = lists_.runs(of_head * shape.rows() + row);
        auto run = std::partition_point(runs.begin(), runs.end(),
                                        [&](const attenta::KeyRun& r) { return r.start + r.count <= first; });
        for (; run != runs.end() && run->start < last; ++run) {
            const std::int64_t begin = std::max<std::int64_t>(run->start, first),
                               end = std::min<std::int64_t>(std::int64_t{run->start} + run->count, last);
            std::fill(kept.begin() + (begin - first), kept.begin() + (end - first), true);
        }
    }

private:
    KeyLists lists_;
    std::int64_t query_heads_;
};

/// A dense copy, [H, T, D].
Tensor tensor_of(Heads<const float> x) {
    Tensor t = Tensor::zeros(attenta::TensorType::f32, {x.heads, x.tokens, x.dim});
    auto to = t.as<float>().begin();
    for (std::int64_t h = 0; h < x.heads; ++h)
        for (std::int64_t i = 0; i < x.tokens; ++i) to = std::copy_n(x.row(h, i), x.dim, to);
    return t;
}

void require_parameters(const attenta::Mechanism& mechanism, const std::map<std::string, std::string>& given) {
    const auto known = mechanism.parameters();
    for (const auto& one : given)
        if (std::none_of(known.begin(), known.end(), [&](const auto& p) { return p.name == one.first; }))
            attenta::fail("view", "selection " + std::string(mechanism.name) + " has no parameter '" + one.first +
                                      "', see `attenta show " + std::string(mechanism.name) + "`");
}

}  // namespace

std::vector<std::string> selection_names() {
    std::vector<std::string> names;
    for (const Row& row : rows) names.emplace_back(row.name);
    return names;
}

bool is_selection(std::string_view name) { return find(name) != nullptr; }

bool is_causal_selection(std::string_view name) { return !find(name) || find(name)->causal; }

Selection selection_of(const std::string& text) {
    std::istringstream parts(text);
    std::string name, part;
    std::getline(parts, name, ':');
    if (!is_selection(name)) {
        std::string all;
        for (const std::string& one : selection_names()) all += (all.empty() ? "" : ", ") + one;
        attenta::fail("view", "there is no selection '" + name + "', there are " + all);
    }
    std::map<std::string, std::string> parameters;
    while (std::getline(parts, part, ':')) {
        const std::size_t end = part.find('=');
        if (end == 0 || end == std::string::npos)
            attenta::fail("view", "selection " + name + " has '" + part + "', needs PARAMETER=VALUE");
        parameters[part.substr(0, end)] = part.substr(end + 1);
    }
    const attenta::Mechanism& mechanism = *attenta::find_mechanism("sparse", name);
    require_parameters(mechanism, parameters);
    const auto file = attenta::make_case({}, {.mechanism = &mechanism, .parameters = parameters});
    const auto found = file.metadata.find("params");
    return {name, found == file.metadata.end() ? "{}" : found->second};
}

void require_fit(const Selection& selection, const LayerInputs& x) {
    const attenta::SoftmaxOptions& o = x.options;
    bool causal = is_causal_selection(selection.name);
    for (const attenta::Parameter& p : attenta::find_mechanism("sparse", selection.name)->parameters())
        if (p.name == "causal") causal = p.default_value == "true";
    const auto given = nlohmann::json::parse(selection.parameters);
    if (const auto own = given.find("causal"); own != given.end() && own->is_boolean()) causal = own->get<bool>();
    const std::int64_t last = x.k.tokens - x.q.tokens;
    if (causal && ((!o.causal && x.q.tokens > 1) || o.q_offset.value_or(last) != last))
        attenta::fail(
            "view", "selection " + selection.name + " needs causal attention of the last tokens (`--set causal=true`)");
}

std::unique_ptr<KeptPairs> kept_by(const Selection& selection, const LayerInputs& x, Context& context) {
    Tensors tensors = x.others ? *x.others : Tensors();
    tensors["q"] = tensor_of(x.q);
    tensors["k"] = tensor_of(x.k);
    tensors["v"] = x.v.data ? tensor_of(x.v) : tensors["k"];
    return std::make_unique<Selected>(
        find(selection.name)->lists(selection.name, {tensors, selection.parameters}, context), x.q.heads);
}

}  // namespace view
