#include "layers.hpp"

#include <algorithm>
#include <optional>

#include "arguments.hpp"
#include "declared.hpp"
#include "softmax_row.hpp"

namespace view {

namespace {

using attenta::Arguments;
using attenta::Heads;
using attenta::Mechanism;
using attenta::Tensor;
using attenta::TensorFile;
using attenta::Tensors;

/// Floats [layers, heads, tokens, dim].
struct Layered {
    std::vector<float> data;
    std::int64_t layers = 0, heads = 0, tokens = 0, dim = 0;

    explicit operator bool() const { return !data.empty(); }
    const float* layer(std::int64_t l) const { return data.data() + l * heads * tokens * dim; }
};

std::string value_of(const TensorFile& file, const char* key, const char* otherwise) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? otherwise : found->second;
}

/// A file, what it is a case of, and its inputs by their plain names.
class Case {
public:
    Case(const std::filesystem::path& path, const std::map<std::string, std::string>& parameters)
        : file_(attenta::make_case(TensorFile::load(path), {.parameters = parameters})),
          family_(value_of(file_, "family", "")),
          named_(value_of(file_, "mechanism", "")),
          mechanism_(attenta::find_mechanism(family_, named_)),
          parameters_(value_of(file_, "params", "{}")) {
        const auto of_case = [](const auto& t) { return t.first.starts_with("in.") || t.first.starts_with("out."); };
        const bool prefixed = std::any_of(file_.tensors.begin(), file_.tensors.end(), of_case);
        for (auto& [name, tensor] : file_.tensors)
            if (!prefixed || name.starts_with("in.")) inputs_[prefixed ? name.substr(3) : name] = std::move(tensor);
    }

    const Mechanism* mechanism() const { return mechanism_; }
    const Tensors& inputs() const { return inputs_; }
    const std::string& parameters() const { return parameters_; }
    bool is_of(std::string_view family) const { return mechanism_ && mechanism_->family == family; }
    /// What the file says that it is a case of.
    std::string named() const { return family_.empty() || named_.empty() ? named_ : family_ + "/" + named_; }
    std::string name() const {
        return mechanism_ ? std::string(mechanism_->family) + "/" + std::string(mechanism_->name) : "";
    }

    /// Of q, k and v. Caches have tokens before heads.
    Layered heads(const std::string& name) const {
        Layered x = array(name, 4);
        const std::string before = declared_before(name, 2), tokens = declared_before(name, 1);
        if (!x || before.empty()) return x;
        const bool turn = before.starts_with('T') || before == "n";
        if (!turn && !tokens.starts_with('T'))
            attenta::fail("view", "input '" + name + "' of " + this->name() + " has no heads and tokens");
        if (!turn) return x;
        Layered turned = x;
        std::swap(turned.heads, turned.tokens);
        for (std::int64_t l = 0; l < x.layers; ++l) {
            const auto from = attenta::nhd(x.layer(l), x.heads, x.tokens, x.dim);
            float* to = turned.data.data() + l * x.heads * x.tokens * x.dim;
            for (std::int64_t h = 0; h < from.heads; ++h)
                for (std::int64_t t = 0; t < from.tokens; ++t) to = std::copy_n(from.row(h, t), from.dim, to);
        }
        return turned;
    }
    Layered weights() const {
        const std::string rows = declared_before("attn", 1);
        if (!rows.empty() && !rows.starts_with('T') && rows != "R")
            attenta::fail("view", "input 'attn' of " + name() + " has no rows of queries");
        return array("attn", 4);
    }

    /// Names of the keys, from numbers of tokens.
    std::vector<std::string> tokens(std::int64_t keys) const {
        std::vector<std::string> names;
        const auto found = inputs_.find("tokens");
        if (found == inputs_.end() || found->second.type != attenta::TensorType::i64 ||
            found->second.shape != std::vector<std::int64_t>{keys})
            return names;
        for (const std::int64_t token : found->second.as<std::int64_t>())
            names.push_back(std::string("#").append(std::to_string(token)));
        return names;
    }

private:
    /// What the mechanism calls the size that is so many before an input's last one; empty where it does not say.
    std::string declared_before(const std::string& input, std::size_t back) const {
        if (!mechanism_) return {};
        for (const attenta::Declared& in : attenta::declared(mechanism_->inputs))
            if (in.name == input && !in.shapes.empty() && in.shapes.back().size() > back)
                return std::string(in.shapes.back()[in.shapes.back().size() - 1 - back]);
        return {};
    }

    /// With sizes of 1 before those that it has; empty where there is no such input.
    Layered array(const std::string& name, std::size_t most) const {
        const auto found = inputs_.find(name);
        if (found == inputs_.end()) return {};
        const Tensor& t = found->second;
        const std::size_t rank = t.shape.size();
        if (rank + 1 < most || rank > most)
            attenta::fail("view",
                          "input '" + name + "' has " + std::to_string(rank) + " sizes, needs 3, or 4 with layers");
        Layered x;
        const auto size = [&](std::size_t from_end) { return from_end > rank ? 1 : t.shape[rank - from_end]; };
        x.layers = size(4);
        x.heads = size(3);
        x.tokens = size(2);
        x.dim = size(1);
        if (t.size() == 0) attenta::fail("view", "input '" + name + "' has no numbers, needs sizes of at least 1");
        x.data = t.to_float();
        return x;
    }

    TensorFile file_;
    std::string family_, named_;
    const Mechanism* mechanism_;
    std::string parameters_;
    Tensors inputs_;
};

/// Whether queries see what comes after them where the parameters do not say.
bool is_causal(const Case& c) {
    if (!c.mechanism()) return false;
    for (const attenta::Parameter& p : c.mechanism()->parameters())
        if (p.name == "causal") return p.default_value == "true";
    return c.is_of("kv") || (c.is_of("sparse") && is_causal_selection(c.mechanism()->name));
}

struct Causality {
    std::optional<bool> causal = {};

    static void fields(auto&& visit, auto& o) { visit("causal", o.causal, "query i sees keys j <= i"); }
};

/// Exact softmax has inputs that change weights; `args` keep them.
attenta::SoftmaxOptions options_of(const Case& c, Arguments& args) {
    auto options = args.options<attenta::SoftmaxOptions>();
    options.causal = args.options<Causality>().causal.value_or(is_causal(c));
    if (c.mechanism() && c.name() != "softmax/softmax") return options;
    attenta::rows::take_arrays(args, options);
    return options;
}

/// Those of exact softmax and of the mechanism.
void require_parameters(const Case& c, const std::map<std::string, std::string>& given) {
    const auto has = [](const Mechanism& m, const std::string& name) {
        const auto known = m.parameters();
        return std::any_of(known.begin(), known.end(), [&](const auto& p) { return p.name == name; });
    };
    for (const auto& [name, value] : given)
        if (!has(*attenta::find_mechanism("softmax", "softmax"), name) && !(c.mechanism() && has(*c.mechanism(), name)))
            attenta::fail("view", "there is no parameter '" + name + "', see `attenta show " +
                                      (c.mechanism() ? c.name() : "softmax/softmax") + "`");
}

std::string note_of(const Case& c) {
    if (c.named().empty() || c.name() == "softmax/softmax") return {};
    const std::string drawn = "Softmax of q·k with the scale, causality and windows of the case. ";
    if (!c.mechanism()) return drawn + "The catalog has no " + c.named() + ".";
    return drawn + c.name() +
           (c.is_of("sparse") || c.is_of("kv") ? " reads fewer keys." : " itself may weigh otherwise.");
}

void view_weights(const Case& c, const Layered& attn, Picture& picture, const Settings& settings) {
    if (!settings.policies.empty() || !settings.selections.empty())
        attenta::fail("view", "the file has weights alone, policies and selections need q and k");
    picture.grid = {.queries = attn.tokens, .keys = attn.dim};
    picture.first_position = attn.dim - attn.tokens;
    picture.heads_per_layer = attn.heads;
    picture.tokens = c.tokens(attn.dim);
    Layers layers(picture, settings, attn.layers);
    for (const std::int64_t layer : picture.layers) layers.add(layer, attn.layer(layer));
}

void view_heads(const Case& c, const Layered& q, const Layered& k, Picture& picture, const Settings& settings) {
    const Layered v = c.heads("v");
    for (const auto& [name, x] : {std::pair{"k", &k}, {"v", &v}})
        if (*x && x->layers != q.layers)
            attenta::fail("view", std::string(name) + " has " + std::to_string(x->layers) + " layers, q has " +
                                      std::to_string(q.layers));
    Arguments args(c.mechanism() ? c.mechanism()->name : "softmax", {c.inputs(), c.parameters()});
    const attenta::SoftmaxOptions options = options_of(c, args);
    picture.note = note_of(c);
    picture.grid = {.queries = q.tokens, .keys = k.tokens};
    picture.first_position = options.q_offset.value_or(k.tokens - q.tokens);
    picture.heads_per_layer = q.heads;
    picture.tokens = c.tokens(k.tokens);
    Layers layers(picture, settings, q.layers);
    std::optional<Selection> own;
    if (c.is_of("sparse") && is_selection(c.mechanism()->name))
        own = {std::string(c.mechanism()->name), c.parameters()};
    layers.use_overlays(settings, own ? &*own : nullptr);

    attenta::ThreadPool pool(0);
    attenta::Context context(pool);
    const auto heads = [](const Layered& x, std::int64_t l) {
        return x ? attenta::hnd(x.layer(l), x.heads, x.tokens, x.dim) : Heads<const float>();
    };
    for (const std::int64_t l : picture.layers)
        layers.add(l, {heads(q, l), heads(k, l), heads(v, l), options, &c.inputs()}, {}, context);
}

}  // namespace

Picture of_case(const std::filesystem::path& path, const std::map<std::string, std::string>& parameters,
                const Settings& settings) {
    const Case c(path, parameters);
    require_parameters(c, parameters);
    Picture picture;
    picture.title = (c.name().empty() ? "" : c.name() + "/") + path.stem().string();
    if (const Layered q = c.heads("q"), k = c.heads("k"); q && k) {
        view_heads(c, q, k, picture, settings);
    } else if (const Layered attn = c.weights()) {
        view_weights(c, attn, picture, settings);
    } else {
        attenta::fail("view", path.string() + " has nothing to view, needs the tensors in.q and in.k, or in.attn");
    }
    return picture;
}

}  // namespace view
