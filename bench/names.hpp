// The names of the attention benchmarks, made to be read by people and by scripts:
//
//   attend/attenta/f32/nhd/causal/Hq:8/Hkv:2/D:128/Tq:4096/Tk:4096/threads:1
//   attend/<impl>/<dtype of K and V>/<layout>/<causal|full>/Hq:/Hkv:/D:[/Dv:]/Tq:/Tk:/threads:[/warm]
//
// Dv is named where it differs from D; `warm` says that K and V stay in the cache.
#pragma once

#include <attenta/core/dtype.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bench {

/// How K and V lie: [head, token, dim], [token, head, dim], or pages of 16 tokens, [page, token, head, dim].
enum class Layout : std::uint8_t { hnd, nhd, paged16 };

inline constexpr std::array<std::string_view, 3> layout_names = {"hnd", "nhd", "paged16"};

struct AttendCase {
    std::string impl = "attenta";
    attenta::Dtype dtype = attenta::Dtype::f32;
    Layout layout = Layout::nhd;
    bool causal = false;
    std::int64_t Hq = 0, Hkv = 0, D = 0, Dv = 0, Tq = 0, Tk = 0;
    int threads = 1;
    bool warm = false;

    bool operator==(const AttendCase&) const = default;
};

/// What users of matrix libraries have: f32 in rows with one stride.
inline bool is_dense_f32(const AttendCase& c) { return c.dtype == attenta::Dtype::f32 && c.layout != Layout::paged16; }

/// `family`: another measurement of the same works.
inline std::string format_name(const AttendCase& c, const char* family = "attend") {
    std::string s = std::string(family) + '/' + c.impl + '/' + attenta::name(c.dtype) + '/';
    s += layout_names[static_cast<std::size_t>(c.layout)];
    s += c.causal ? "/causal" : "/full";
    const auto add = [&](const char* key, std::int64_t value) {
        s += '/' + std::string(key) + ':' + std::to_string(value);
    };
    add("Hq", c.Hq);
    add("Hkv", c.Hkv);
    add("D", c.D);
    if (c.Dv != c.D) add("Dv", c.Dv);
    add("Tq", c.Tq);
    add("Tk", c.Tk);
    add("threads", c.threads);
    return c.warm ? s + "/warm" : s;
}

/// Takes a name apart at its slashes.
class NameReader {
public:
    explicit NameReader(std::string_view name) : rest_(name) {}

    bool done() const { return rest_.empty(); }
    std::string_view next() {
        const std::size_t end = std::min(rest_.find('/'), rest_.size());
        const std::string_view part = rest_.substr(0, end);
        rest_.remove_prefix(std::min(end + 1, rest_.size()));
        return part;
    }
    /// The next part if it is `word`.
    bool take(std::string_view word) {
        NameReader ahead = *this;
        if (ahead.next() != word) return false;
        *this = ahead;
        return true;
    }
    /// The positive number of the next part if that is `key`:number.
    std::optional<std::int64_t> take_number(std::string_view key) {
        NameReader ahead = *this;
        const std::string_view part = ahead.next();
        if (part.size() <= key.size() || !part.starts_with(key) || part[key.size()] != ':') return {};
        std::int64_t value = 0;
        const char *begin = part.data() + key.size() + 1, *end = part.data() + part.size();
        const auto [stop, error] = std::from_chars(begin, end, value);
        if (error != std::errc() || stop != end || value <= 0) return {};
        *this = ahead;
        return value;
    }

private:
    std::string_view rest_;
};

/// The case of a name; empty where it is not the name of an attention benchmark.
inline std::optional<AttendCase> parse_name(std::string_view name) {
    using attenta::Dtype;
    NameReader in(name);
    AttendCase c;
    if (!in.take("attend")) return {};
    c.impl = in.next();
    if (c.impl.empty()) return {};

    const std::string_view dtype = in.next();
    if (dtype != "f32" && dtype != "bf16" && dtype != "f16") return {};
    c.dtype = dtype == "f32" ? Dtype::f32 : dtype == "bf16" ? Dtype::bf16 : Dtype::f16;

    const std::string_view layout = in.next();
    std::size_t l = 0;
    while (l < layout_names.size() && layout_names[l] != layout) ++l;
    if (l == layout_names.size()) return {};
    c.layout = static_cast<Layout>(l);

    c.causal = in.take("causal");
    if (!c.causal && !in.take("full")) return {};

    const auto Hq = in.take_number("Hq"), Hkv = in.take_number("Hkv"), D = in.take_number("D"),
               Dv = in.take_number("Dv"), Tq = in.take_number("Tq"), Tk = in.take_number("Tk"),
               threads = in.take_number("threads");
    if (!Hq || !Hkv || !D || !Tq || !Tk || !threads) return {};
    c.Hq = *Hq, c.Hkv = *Hkv, c.D = *D, c.Dv = Dv.value_or(*D), c.Tq = *Tq, c.Tk = *Tk;
    c.threads = static_cast<int>(*threads);
    c.warm = in.take("warm");
    return in.done() ? std::optional(c) : std::nullopt;
}

}  // namespace bench
