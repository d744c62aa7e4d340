#include "setup.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "src/catalog/declared.hpp"

namespace compare {

namespace {

using attenta::Tensor;
using attenta::Tensors;
using attenta::TensorType;
using Shape = std::vector<std::int64_t>;

[[noreturn]] void refuse(const std::string& reason) { attenta::fail("compare", reason); }

/// A standard normal number; those of one name are always the same.
class Normals {
public:
    explicit Normals(std::string_view name) : next_(std::hash<std::string_view>()(name) % values().size()) {}
    float operator()() {
        if (++next_ >= values().size()) next_ = 0;
        return values()[next_];
    }

private:
    static const std::vector<float>& values() {
        static const std::vector<float> all = [] {
            std::vector<float> x((std::size_t{1} << 18) - 3);
            std::mt19937 random(3);
            std::normal_distribution<float> draw;
            for (float& value : x) value = draw(random);
            return x;
        }();
        return all;
    }
    std::size_t next_;
};

float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

bool is_any(std::string_view name, std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

/// How models have the numbers of an input that is not of the source.
float value_of(std::string_view name, std::int64_t fan_in, Normals& normal) {
    const auto starts = [&](std::string_view prefix) { return name.starts_with(prefix); };
    if (is_any(name, {"g", "gv", "g_cache", "next_g"})) return -std::log1p(std::exp(-normal())) / 16;  // as in GLA
    if (is_any(name, {"beta", "b", "next_beta", "mix_gate", "q_norm", "k_norm", "s_qk", "rand", "w_static", "w_dynamic",
                      "coin", "threshold", "head_score", "mean_gate", "g_cmp", "g_slc", "g_win", "row_scale", "ridge"}))
        return sigmoid(normal());
    if (is_any(name, {"theta", "alpha", "eta", "mem_theta", "mem_alpha", "mem_eta", "level_weight"}))
        return sigmoid(normal() - 2);
    if (starts("dt")) return normal() - 3;
    if (name == "A") return -std::exp(normal());
    if (name == "key_max") return 2;
    if (starts("norm") || is_any(name, {"ln_weight", "c_norm", "i_norm", "temperature", "sigma"})) return 1;
    if (starts("b_") || name.ends_with("bias") || name == "ln_bias") return normal() / 10;
    if (starts("w") || starts("conv") || starts("proj") || starts("kernel"))
        return normal() / std::sqrt(static_cast<float>(fan_in));
    return normal();
}

/// Of the source: queries, keys or values under all the names that they have.
const Block* block_of(const Source& source, std::string_view name) {
    const auto is = [&](std::string_view letter) {
        return name == letter || name.starts_with(std::string(letter) + "_") || name == "mem_" + std::string(letter) ||
               name == "next_" + std::string(letter);
    };
    if (is("q") || is_any(name, {"query", "queries", "train_queries", "learn_q", "C", "next_C"})) return &source.q;
    if (is("k") || is_any(name, {"keys", "calibration", "learn_k", "B", "next_B", "d"})) return &source.k;
    if (is("v") || is_any(name, {"x", "next_x"})) return &source.v;
    return nullptr;
}

Shape strides_of(const Shape& shape) {
    Shape strides(shape.size(), 1);
    for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
    return strides;
}

/// The last tokens before `end`, of heads that repeat where there are fewer; false where the rows have other widths.
bool copy_from(const Block& block, Tensor& to, const std::vector<std::string_view>& letters, std::int64_t end) {
    const auto axis = [&](auto&& accepts) {
        return std::find_if(letters.begin(), letters.end(), accepts) - letters.begin();
    };
    const std::ptrdiff_t tokens = axis([](std::string_view s) { return s.starts_with('T') || s == "N" || s == "P"; });
    const auto rank = static_cast<std::ptrdiff_t>(letters.size());
    if (rank < 2 || rank > 3 || tokens >= rank - 1 || to.shape.back() != block.dim) return false;
    const std::ptrdiff_t heads = rank == 2 ? rank : 1 - tokens;
    const std::int64_t T = to.shape[static_cast<std::size_t>(tokens)];
    const std::int64_t H = heads < rank ? to.shape[static_cast<std::size_t>(heads)] : 1;
    if (T > end) return false;
    const Shape strides = strides_of(to.shape);
    float* const data = to.as<float>().data();
    for (std::int64_t h = 0; h < H; ++h) {
        const std::int64_t from = H >= block.heads ? h * block.heads / H : h;
        for (std::int64_t t = 0; t < T; ++t)
            std::copy_n(block.row(from, end - T + t), block.dim,
                        data + (heads < rank ? h * strides[static_cast<std::size_t>(heads)] : 0) +
                            t * strides[static_cast<std::size_t>(tokens)]);
    }
    return true;
}

}  // namespace

struct Setup::Planned {
    std::string_view name;
    std::vector<std::string_view> letters;
    Shape shape;
    double bytes() const {
        double n = sizeof(float);
        for (const std::int64_t s : shape) n *= static_cast<double>(s);
        return n;
    }
};

Setup::Setup(const attenta::Mechanism& m, const Source& s, std::int64_t end_of_context, std::int64_t queries,
             std::int64_t keys_per_query)
    : mechanism(m),
      source(s),
      end(end_of_context),
      Tq(queries),
      Tk(end_of_context),
      T(queries == 1 ? 1 : end_of_context),
      budget(std::min(keys_per_query, end_of_context)) {
    for (const char* letter : {"Hq", "H", "Gp"}) size(letter, s.q.heads);
    for (const char* letter : {"Hkv", "Hk", "Hv", "Hs", "G"}) size(letter, s.k.heads);
    for (const char* letter : {"D", "Dq", "Dk", "Dn", "Dr", "Dp", "Di", "Dc", "N"}) size(letter, s.q.dim);
    for (const char* letter : {"Dv", "P"}) size(letter, s.v.dim);
}

bool Setup::has_parameter(std::string_view name) const {
    const auto list = mechanism.parameters();
    return std::any_of(list.begin(), list.end(), [&](const auto& p) { return p.name == name; });
}

Setup& Setup::integers(const std::string& input, Shape shape, const std::function<std::int64_t(std::int64_t)>& at) {
    Tensor t = Tensor::zeros(TensorType::i64, std::move(shape));
    for (std::int64_t i = 0; auto& x : t.as<std::int64_t>()) x = at(i++);
    return ready_.insert_or_assign(input, std::move(t)), *this;
}

Setup& Setup::floats(const std::string& input, Shape shape, const std::function<float(std::int64_t)>& at) {
    Tensor t = Tensor::zeros(TensorType::f32, std::move(shape));
    for (std::int64_t i = 0; auto& x : t.as<float>()) x = at(i++);
    return ready_.insert_or_assign(input, std::move(t)), *this;
}

std::int64_t Setup::size_of(std::string_view text) const {
    if (const std::size_t cut = text.find(" or "); cut != std::string_view::npos) text = text.substr(0, cut);
    std::int64_t n = 0;
    const char* const last = text.data() + text.size();
    if (const auto [rest, error] = std::from_chars(text.data(), last, n); error == std::errc() && rest == last)
        return n;
    if (text.ends_with("/2")) return size_of(text.substr(0, text.size() - 2)) / 2;
    if (const auto found = sizes_.find(text); found != sizes_.end()) return found->second;
    if (text == "Tq") return Tq;
    if (text == "Tk") return Tk;
    if (text == "T") return T;
    refuse("nothing in q, k and v says how large " + std::string(text) + " is");
}

std::vector<Setup::Planned> Setup::planned(std::string_view list, bool outputs) const {
    std::vector<Planned> result;
    for (const attenta::Declared& in : attenta::declared(list)) {
        if (!outputs && (ready_.contains(std::string(in.name)) || (in.optional && !optional_.contains(in.name))))
            continue;
        const auto wanted = shapes_.find(in.name);
        Planned p{in.name, wanted == shapes_.end() ? in.shapes.back() : in.shapes[wanted->second], {}};
        for (const std::string_view letter : p.letters) p.shape.push_back(size_of(letter));
        result.push_back(std::move(p));
    }
    return result;
}

Tensor Setup::draw(const Planned& input) const {
    Tensor t = Tensor::zeros(TensorType::f32, input.shape);
    const auto alias = aliases_.find(input.name);
    const std::string_view name = alias == aliases_.end() ? input.name : alias->second;
    const auto last = ends_.find(input.name);
    const Block* const block = block_of(source, name);
    if (block && copy_from(*block, t, input.letters, last == ends_.end() ? end : last->second)) return t;
    Normals normal(input.name);
    const std::int64_t fan_in = input.shape.empty() ? 1 : std::max<std::int64_t>(input.shape.back(), 1);
    for (float& x : t.as<float>()) x = value_of(name, fan_in, normal);
    return t;
}

Tensors Setup::tensors(const Tensors& carried) const {
    Tensors all = ready_;
    for (const Planned& input : planned(mechanism.inputs, false))
        if (!carried.contains(std::string(input.name))) all.emplace(input.name, draw(input));
    all.insert(carried.begin(), carried.end());
    return all;
}

double Setup::bytes() const {
    double total = 0;
    for (const Planned& input : planned(mechanism.inputs, false)) total += input.bytes();
    for (const attenta::Declared& out : attenta::declared(mechanism.outputs)) {
        double n = sizeof(float);
        for (const std::string_view letter : out.shapes.back()) {
            try {
                n *= static_cast<double>(size_of(letter));
            } catch (const attenta::Error&) {
            }
        }
        total += n;
    }
    return total;
}

double Setup::bytes_per_token(const Tensors& given) const {
    double total = 0;
    for (const attenta::Declared& in : attenta::declared(mechanism.inputs)) {
        const auto found = given.find(std::string(in.name));
        if (found == given.end() || in.shapes.empty()) continue;
        // Not those of pairs of tokens, as a mask, which a step makes and forgets.
        for (const auto& shape : in.shapes) {
            const auto grows = [&](std::string_view s) { return s == "Tk" || (!kept.empty() && s == kept); };
            if (std::count_if(shape.begin(), shape.end(), grows) == 1 &&
                std::none_of(shape.begin(), shape.end(), [](std::string_view s) { return s == "Tq"; })) {
                total += static_cast<double>(found->second.bytes.size());
                break;
            }
        }
    }
    return total / static_cast<double>(end);
}

}  // namespace compare
