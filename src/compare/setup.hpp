// The tensors and parameters of one call of a mechanism of the catalog, made from what its row declares.
//
// Sizes come from the letters of the declared shapes: those of q, k and v from the source, others from `size`. Tensors come
// from their names: queries, keys and values are the source's, gates, rates, norms and weights are drawn as models have
// them. What no rule can know stands in a recipe (recipes.hpp), a line or two for a mechanism.
#pragma once

#include <attenta/catalog.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "source.hpp"

namespace compare {

using Json = nlohmann::ordered_json;

/// What o is held against.
enum class Exact : std::uint8_t {
    none,    ///< nothing: the mechanism does not approximate softmax attention
    causal,  ///< attention of each query to the keys up to its own
    all      ///< to all keys
};

class Setup {
public:
    /// A call for queries up to the token `end` of a context of so many tokens.
    Setup(const attenta::Mechanism& m, const Source& s, std::int64_t end_of_context, std::int64_t queries,
          std::int64_t keys_per_query);

    const attenta::Mechanism& mechanism;
    const Source& source;
    std::int64_t end;     ///< tokens of the context; tensors of n tokens are its last n
    std::int64_t Tq, Tk;  ///< queries, and the keys that they see
    std::int64_t T;       ///< tokens of a shape that does not tell queries from keys
    std::int64_t budget;  ///< keys that a query may read where a mechanism chooses them

    // What a recipe says.
    Exact exact = Exact::none;
    bool has_mass = false;          ///< lse is of chosen keys with their exact scores
    bool dense = false;             ///< each query reads all keys before it, so that the products can be counted
    bool decodes = true;            ///< one more token can be asked for
    bool prefills = true;           ///< a whole context can be asked for
    std::string_view kept = "";     ///< a further letter that stands for tokens of the context
    bool keeps = true;              ///< what grows with the context is kept for the next token
    int code_bits = 0;              ///< of the numbers that a cache stores as codes
    std::int64_t float_tokens = 0;  ///< newest tokens that such a cache keeps as they are

    Setup& size(std::string_view letter, std::int64_t n) { return sizes_[letter] = n, *this; }
    Setup& set(const char* parameter, Json value) { return parameters_[parameter] = std::move(value), *this; }
    /// Optional inputs that are given.
    Setup& give(std::initializer_list<std::string_view> names) { return optional_.insert(names), *this; }
    /// The n-th of the shapes that an input may have; without this the last.
    Setup& shape(std::string_view input, std::size_t n) { return shapes_[input] = n, *this; }
    Setup& integers(const std::string& input, std::vector<std::int64_t> shape,
                    const std::function<std::int64_t(std::int64_t)>& at);
    Setup& floats(const std::string& input, std::vector<std::int64_t> shape,
                  const std::function<float(std::int64_t)>& at);
    /// An input under the name of another of the source, for instance keys under the name "mem_k".
    Setup& as(std::string_view input, std::string_view name) { return aliases_[input] = name, *this; }
    /// An input of n tokens has those before `end`, not the last of the context.
    Setup& before(std::string_view input, std::int64_t last) { return ends_[input] = last, *this; }

    bool has_parameter(std::string_view name) const;
    bool decoding() const { return Tq == 1 && end > 1; }

    /// All that the call needs, with what earlier calls leave (`carried`) in the place of what would be drawn.
    attenta::Tensors tensors(const attenta::Tensors& carried = {}) const;
    std::string parameters() const { return parameters_.dump(); }
    std::int64_t query_heads() const { return sizes_.at("Hq"); }
    /// Bytes of the inputs and of the declared outputs whose sizes are known; throws Error where a letter has no size.
    double bytes() const;
    /// Bytes of the given tensors that grow with the context, for each of its tokens.
    double bytes_per_token(const attenta::Tensors& given) const;

private:
    struct Planned;
    std::vector<Planned> planned(std::string_view declared_inputs, bool outputs) const;
    std::int64_t size_of(std::string_view text) const;
    attenta::Tensor draw(const Planned& input) const;

    Json parameters_ = Json::object();
    std::map<std::string_view, std::int64_t> sizes_;
    std::set<std::string_view> optional_;
    std::map<std::string_view, std::size_t> shapes_;
    std::map<std::string_view, std::string_view> aliases_;
    std::map<std::string_view, std::int64_t> ends_;
    attenta::Tensors ready_;
};

}  // namespace compare
