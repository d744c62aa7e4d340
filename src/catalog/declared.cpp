#include "declared.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "messages.hpp"
#include "tensor_type.hpp"

ATTENTA_BEGIN

namespace {

constexpr std::string_view alternative = " or ", limit = "at most ";

std::string_view last_word(std::string_view text) {
    while (text.ends_with(' ')) text.remove_suffix(1);
    return text.substr(text.find_last_of(" (,") + 1);
}

std::optional<std::int64_t> number(std::string_view size) {
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(size.data(), size.data() + size.size(), n);
    return error == std::errc() && end == size.data() + size.size() ? std::optional(n) : std::nullopt;
}

/// What a letter stands for, the first input that says so, and whether one with elements does.
struct Meaning {
    std::int64_t size = 0;
    std::string_view input;
    bool backed = false;
};
using Letters = std::map<std::string_view, Meaning>;

bool fits(const Meaning& given, std::string_view declared_size, Letters& letters) {
    while (!declared_size.empty()) {
        const std::string_view choice = ShapeLetters::cut(declared_size, alternative);
        const auto n = number(choice);
        if (n == given.size) return true;
        if (n) continue;
        if (choice.starts_with(limit)) {
            const auto most = letters.find(choice.substr(limit.size()));
            if (most == letters.end() || given.size <= most->second.size) return true;
            continue;
        }
        Meaning& letter = letters.try_emplace(choice, given).first->second;
        if (letter.size != given.size) continue;
        letter.backed = letter.backed || given.backed;
        return true;
    }
    return false;
}

bool fits(const Tensor& tensor, const Declared::Sizes& sizes, std::string_view input, Letters& letters) {
    Letters more = letters;
    const auto size_fits = [&](std::int64_t size, std::string_view text) {
        return fits({size, input, !tensor.bytes.empty()}, text, more);
    };
    if (!std::equal(tensor.shape.begin(), tensor.shape.end(), sizes.begin(), sizes.end(), size_fits)) return false;
    letters = std::move(more);
    return true;
}

/// "[2, Tq, 1 or 4]", the numbers in place of the letters where they are known.
std::string expected(const Declared& input, const Letters& letters) {
    std::string text;
    for (const Declared::Sizes& sizes : input.shapes) {
        text += text.empty() ? "[" : " or [";
        for (std::string_view size : sizes) {
            if (!text.ends_with('[')) text += ", ";
            while (!size.empty()) {
                std::string_view choice = ShapeLetters::cut(size, alternative);
                if (choice.starts_with(limit)) {
                    text.append(limit);
                    choice.remove_prefix(limit.size());
                }
                const auto known = letters.find(choice);
                text.append(known == letters.end() ? choice : std::to_string(known->second.size));
                if (!size.empty()) text += alternative;
            }
        }
        text += ']';
    }
    return text;
}

class SizeCheck {
public:
    explicit SizeCheck(const Mechanism& mechanism) : mechanism_(mechanism) {}

    void input(const Declared& input, const Tensor& tensor) {
        const std::string what = "input " + in_quotes(input.name) + " ";
        const auto shape_fits = [&](const Declared::Sizes& sizes) { return fits(tensor, sizes, input.name, letters_); };
        if (std::none_of(input.shapes.begin(), input.shapes.end(), shape_fits))
            refuse(what + "has the shape " + to_text(tensor.shape) + ", expected " + expected(input, letters_));
        // An optional input of a size 0 that nothing else has could not be told from one that is not given. Integers name
        // nothing then: that is the same.
        const auto alone = [&](const auto& letter) {
            return letter.second.input == input.name && letter.second.size == 0;
        };
        if (input.optional && tensor.type != TensorType::i64 && std::any_of(letters_.begin(), letters_.end(), alone))
            refuse(what + "is empty, its shape is " + to_text(tensor.shape));
    }

    /// Heads are shared in groups: any number of them divides the largest.
    void heads() const {
        std::vector<Meaning> counts;
        for (const auto& [letter, meaning] : letters_)
            if (letter.starts_with('H')) counts.push_back(meaning);
        const auto fewer = [](const Meaning& a, const Meaning& b) { return a.size < b.size; };
        const auto most = std::max_element(counts.begin(), counts.end(), fewer);
        for (const Meaning& count : counts)
            if (count.size != most->size && (count.size == 0 || most->size % count.size != 0))
                refuse("input " + in_quotes(count.input) + " has " + std::to_string(count.size) +
                       " heads, needs a divisor of the " + std::to_string(most->size) + " of input " +
                       in_quotes(most->input));
    }

    /// Nothing in the file stands behind the sizes of tensors without elements.
    void empty_tensors() const {
        constexpr std::int64_t most = 1 << 16;
        std::int64_t product = 1;
        std::string sizes;
        for (const auto& [letter, meaning] : letters_) {
            if (meaning.backed || product > most) continue;
            sizes.append(sizes.empty() ? "" : ", ").append(letter).append(" = ").append(std::to_string(meaning.size));
            product = meaning.size > most ? meaning.size : product * std::max<std::int64_t>(meaning.size, 1);
        }
        if (product > most) refuse("inputs without elements have too large a shape: " + sizes);
    }

private:
    [[noreturn]] void refuse(const std::string& reason) const { fail(std::string(mechanism_.name).c_str(), reason); }

    const Mechanism& mechanism_;
    Letters letters_;
};

}  // namespace

std::vector<Declared> declared(std::string_view list) {
    std::vector<Declared> result;
    bool optional = false;
    while (list.find('[') != std::string_view::npos) {
        const std::string_view before = ShapeLetters::cut(list, "[");
        if (const std::size_t at = before.find_last_of("()"); at != std::string_view::npos)
            optional = before[at] == '(';
        std::string_view sizes = ShapeLetters::cut(list, "]");
        if (const std::string_view name = last_word(before); !name.empty() && name != "or")
            result.push_back({name, optional, {}});
        Declared::Sizes& shape = result.back().shapes.emplace_back();
        while (!sizes.empty()) shape.push_back(ShapeLetters::cut(sizes, ", "));
    }
    return result;
}

std::string text_of(std::span<const Input> inputs, const std::string& more) {
    std::string text, optional;
    for (const Input& in : inputs) {
        std::string& to = in.flags & Input::optional ? optional : text;
        to.append(to.empty() ? "" : ", ").append(in.name).append(" ").append(in.shapes.text);
    }
    if (!more.empty()) optional.append(optional.empty() ? "" : ", ").append(more);
    return optional.empty() ? text : text + ", (" + optional + ")";
}

void check_sizes(const Mechanism& mechanism, const Tensors& inputs) {
    SizeCheck check(mechanism);
    for (const Declared& input : declared(mechanism.inputs))
        if (const auto given = inputs.find(std::string(input.name)); given != inputs.end() && is_sound(given->second))
            check.input(input, given->second);
    check.empty_tensors();
    check.heads();
}

ATTENTA_END
