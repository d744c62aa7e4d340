#pragma once

#include <attenta/core/error.hpp>
#include <attenta/engine/lists/key_lists.hpp>

#include <algorithm>
#include <limits>
#include <string>

ATTENTA_BEGIN

namespace detail {

inline void check_list_shape(const char* f, const KeyLists::Shape& s) {
    const auto check = [f](const char* name, std::int64_t n, std::int64_t least) {
        constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
        if (n < least || n > most)
            fail(f, std::string("the shape has ") + name + " " + std::to_string(n) + ", needs " +
                        std::to_string(least) + " to 2^31 - 1");
    };
    check("heads", s.heads, 1);
    check("queries", s.queries, 0);
    check("keys", s.keys, 0);
    check("query_block", s.query_block, 1);
    check("unit", s.unit, 1);
    check("query_step", s.query_step, 0);
}

/// Whether one of the rows from `first` to `last` shows one of the keys.
inline bool shows_some(const Mask& mask, QueryRow first, const QueryRow& last, std::int64_t step,
                       const KeyBlock& keys) {
    const Cover cover = mask.classify(first, last, keys);
    if (cover != Cover::some) return cover == Cover::all;
    for (; first.index <= last.index; first.index += step, first.position += step)
        for (std::int64_t i = 0; i < keys.count; i += 64) {
            const KeyBlock part = keys.slice(i, std::min<std::int64_t>(64, keys.count - i));
            std::uint64_t word = part.count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << part.count) - 1;
            mask.bits(first, part, &word);
            if (word != 0) return true;
        }
    return false;
}

}  // namespace detail

ATTENTA_INLINE void KeyLists::reset(const Shape& shape) {
    detail::check_list_shape("KeyLists", shape);
    shape_ = shape;
    run_begin_.assign(1, 0);
    key_begin_.assign(1, 0);
    runs_.clear();
    bias.clear();
    key_gain.clear();
    value_gain.clear();
}

ATTENTA_INLINE void KeyLists::add(std::int64_t start, std::int64_t count) {
    if (count == 0) return;
    const bool first = static_cast<std::int64_t>(runs_.size()) == run_begin_.back();
    const std::int64_t end = first ? 0 : std::int64_t{runs_.back().start} + runs_.back().count;
    if (count < 0 || start < end || start > shape_.keys || count > shape_.keys - start)
        fail("KeyLists::add", std::to_string(count) + " keys from " + std::to_string(start) +
                                  " on, needs keys behind the last one, from " + std::to_string(end) + " to " +
                                  std::to_string(shape_.keys));
    if (!first && start == end)
        runs_.back().count += static_cast<std::int32_t>(count);
    else
        runs_.push_back({static_cast<std::int32_t>(start), static_cast<std::int32_t>(count)});
}

ATTENTA_INLINE void KeyLists::end_list() {
    std::int64_t keys = key_begin_.back();
    for (auto i = at(run_begin_.back()); i < runs_.size(); ++i) keys += runs_[i].count;
    run_begin_.push_back(static_cast<std::int64_t>(runs_.size()));
    key_begin_.push_back(keys);
}

ATTENTA_INLINE void KeyLists::add_list(const KeyLists& others, std::int64_t list) {
    for (const KeyRun& run : others.runs(list)) add(run.start, run.count);
    const auto copy = [&](const std::vector<float>& from, std::vector<float>& to) {
        const auto first = from.begin() + others.first_key(list);
        if (!from.empty()) to.insert(to.end(), first, first + others.keys_of(list));
    };
    copy(others.bias, bias);
    copy(others.key_gain, key_gain);
    copy(others.value_gain, value_gain);
}

ATTENTA_INLINE void KeyLists::assign(const char* f, const Shape& shape, const Csr& csr) {
    detail::check_list_shape(f, shape);
    const std::int64_t lists = shape.heads * shape.rows(), blocks = (shape.keys + csr.unit - 1) / csr.unit;
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    if (csr.pointers != lists + 1) fail(f, "indptr has " + text(csr.pointers) + " elements, needs " + text(lists + 1));
    if (!csr.indptr || (csr.entries > 0 && !csr.indices)) fail(f, "indptr or indices is null, needs elements");
    if (csr.pointer(0) != 0 || csr.pointer(lists) != csr.entries)
        fail(f, "indptr goes from " + text(csr.pointer(0)) + " to " + text(csr.pointer(lists)) + ", needs 0 to " +
                    text(csr.entries));
    if (!csr.bias.empty() && static_cast<std::int64_t>(csr.bias.size()) != csr.entries)
        fail(f,
             "bias has " + text(static_cast<std::int64_t>(csr.bias.size())) + " elements, needs " + text(csr.entries));
    for (std::int64_t n = 0; n < lists; ++n)
        if (csr.pointer(n + 1) < csr.pointer(n) || csr.pointer(n + 1) > csr.entries)
            fail(f, "indptr has " + text(csr.pointer(n + 1)) + " after " + text(csr.pointer(n)) +
                        ", needs to ascend to " + text(csr.entries));
    reset(shape);
    for (std::int64_t n = 0; n < lists; ++n) {
        const std::int64_t begin = csr.pointer(n), end = csr.pointer(n + 1);
        if (end - begin > blocks)
            fail(f, "list " + text(n) + " has " + text(end - begin) + " indices, needs at most " + text(blocks));
        // Runs of the list are its indices first, each with the place of its entry, so that no other memory is needed.
        const std::size_t first = runs_.size();
        for (std::int64_t e = begin; e < end; ++e) {
            const std::int64_t index = csr.index(e);
            if (index < 0 || index >= blocks)
                fail(f, "indices[" + text(e) + "] is " + text(index) + ", needs 0 to " + text(blocks - 1));
            runs_.push_back({static_cast<std::int32_t>(index), static_cast<std::int32_t>(e - begin)});
        }
        const auto list = runs_.begin() + static_cast<std::ptrdiff_t>(first);
        std::sort(list, runs_.end(), [](const KeyRun& a, const KeyRun& b) { return a.start < b.start; });
        auto last = list;  // behind the runs so far
        std::int64_t before = -1;
        for (auto next = list; next != runs_.end(); ++next) {
            const auto [index, entry] = *next;
            if (index == before) fail(f, "list " + text(n) + " has index " + text(index) + " twice, needs each once");
            const std::int64_t start = index * csr.unit, count = std::min(csr.unit, shape.keys - start);
            const KeyRun run{static_cast<std::int32_t>(start), static_cast<std::int32_t>(count)};
            if (last != list && index == before + 1)
                (last - 1)->count += run.count;
            else
                *last++ = run;
            if (!csr.bias.empty()) bias.push_back(csr.bias[at(begin + entry)]);
            before = index;
        }
        runs_.erase(last, runs_.end());
        end_list();
    }
}

ATTENTA_INLINE KeyLists KeyLists::of(const Mask& mask, const Shape& shape, std::optional<std::int64_t> q_offset) {
    KeyLists result(shape);
    const std::int64_t offset = q_offset.value_or(shape.keys - shape.queries);
    for (std::int64_t h = 0; h < shape.heads; ++h)
        for (std::int64_t row = 0; row < shape.rows(); ++row) {
            const std::int64_t first = shape.query(row, 0), last = shape.query(row, shape.queries_of(row) - 1);
            const QueryRow a{static_cast<int>(h), first, offset + first, 0},
                b{static_cast<int>(h), last, offset + last, 0};
            for (std::int64_t k = 0; k < shape.keys; k += shape.unit) {
                const KeyBlock keys{k, std::min(shape.unit, shape.keys - k), nullptr};
                if (detail::shows_some(mask, a, b, std::max<std::int64_t>(shape.query_step, 1), keys))
                    result.add(k, keys.count);
            }
            result.end_list();
        }
    return result;
}

ATTENTA_INLINE double KeyLists::density() const {
    double pairs = 0;
    const std::int64_t rows = shape_.rows();
    for (std::int64_t n = 0; n < lists(); ++n) {
        pairs += static_cast<double>(shape_.queries_of(n % rows)) * static_cast<double>(keys_of(n));
    }
    const double all =
        static_cast<double>(shape_.heads) * static_cast<double>(shape_.queries) * static_cast<double>(shape_.keys);
    return all > 0 ? pairs / all : 0;
}

ATTENTA_INLINE std::string KeyLists::text(std::int64_t most) const {
    std::string s;
    const auto range = [&s](std::int64_t first, std::int64_t last) {
        s += std::to_string(first);
        if (last > first) s.append("-").append(std::to_string(last));
    };
    const std::int64_t rows = shape_.rows();
    for (std::int64_t n = 0; n < std::min(lists(), most); ++n) {
        const std::int64_t row = n % rows, first = shape_.query(row, 0);
        s.append("head ").append(std::to_string(n / rows)).append(", queries ");
        range(first, shape_.query_step > 0 ? first : first + shape_.queries_of(row) - 1);
        if (shape_.query_step > 0) s.append(", ").append(std::to_string(first + shape_.query_step)).append(", ...");
        s += ':';
        for (const KeyRun& run : runs(n)) {
            s += ' ';
            range(run.start, std::int64_t{run.start} + run.count - 1);
        }
        s += '\n';
    }
    if (lists() > most) s.append("... ").append(std::to_string(lists() - most)).append(" more\n");
    return s;
}

ATTENTA_END
