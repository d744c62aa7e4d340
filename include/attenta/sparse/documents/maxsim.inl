#pragma once

#include <attenta/core/finite.hpp>
#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/common/checks.hpp>
#include <attenta/sparse/documents/maxsim.hpp>
#include <attenta/sparse/documents/maxsim_kernels.hpp>

#include <limits>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace detail {

inline void check_maxsim_documents(const MaxsimInputs& x) {
    constexpr std::int64_t most = std::int64_t{1} << 26;  // lanes count their vectors in floats
    using checks::text;
    const std::span<const std::int64_t> p = x.doc_ptr;
    if (p.size() < 2)
        fail("maxsim", "doc_ptr has " + text(static_cast<std::int64_t>(p.size())) + " elements, needs at least 2");
    if (p.front() != 0 || p.back() != x.d.rows)
        fail("maxsim", "doc_ptr goes from " + text(p.front()) + " to " + text(p.back()) + ", needs 0 to the " +
                           text(x.d.rows) + " rows of d");
    for (std::size_t b = 0; b + 1 < p.size(); ++b) {
        if (p[b + 1] <= p[b])
            fail("maxsim",
                 "doc_ptr has " + text(p[b + 1]) + " after " + text(p[b]) + ", needs to ascend: no document is empty");
        if (p[b + 1] > x.d.rows || p[b + 1] - p[b] > most)
            fail("maxsim", "doc_ptr has " + text(p[b + 1]) + " after " + text(p[b]) + ", needs at most the " +
                               text(x.d.rows) + " rows of d and 2^26 rows for a document");
    }
}

inline void check_maxsim(const MaxsimInputs& x, const MaxsimOutputs& out, const MaxsimOptions& options) {
    const char* const f = "maxsim";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    for (const auto& [name, n] : {std::pair{"q has no rows", x.q.rows}, {"q has no features", x.q.cols}})
        if (n < 1) fail(f, std::string(name) + ", needs at least one");
    check_maxsim_documents(x);
    if (options.floor && !is_finite(*options.floor))
        fail(f, "floor is " + std::to_string(*options.floor) + ", needs a finite number");
    if (options.check_data) check_numbers(f, inputs);

    const auto documents = static_cast<std::int64_t>(x.doc_ptr.size()) - 1;
    const NamedBytes read[] = {
        {"q", bytes_of(x.q, sizeof(float))}, {"d", bytes_of(x.d, sizeof(float))}, {"doc_ptr", bytes_of(x.doc_ptr)}};
    checks::check_pointer(f, "score", out.score, sizeof(float), true);
    checks::check_apart(f, "score", Bytes::of(out.score, documents * 4), read);
    if (!out.argmax) return;
    checks::check_pointer(f, "argmax", out.argmax, sizeof(std::int64_t), true);
    const Bytes bytes = Bytes::of(out.argmax, documents * x.q.rows * 8);
    checks::check_apart(f, "argmax", bytes, read);
    checks::check_apart(f, "argmax", bytes, std::array{NamedBytes{"score", Bytes::of(out.score, documents * 4)}});
}

}  // namespace detail

ATTENTA_INLINE void maxsim(const MaxsimInputs& x, const MaxsimOutputs& out, const MaxsimOptions& options,
                           Context& context) {
    detail::check_maxsim(x, out, options);
    const detail::MaxsimJob job{x, out, options.similarity,
                                options.floor.value_or(-std::numeric_limits<float>::infinity())};
    // Tasks take documents of 1024 vectors together, for each packs the query.
    std::vector<std::int64_t> first_of_task;
    const auto documents = static_cast<std::int64_t>(x.doc_ptr.size()) - 1;
    for (std::int64_t b = 0, end = 0; b < documents; ++b) {
        const std::int64_t begin = x.doc_ptr[static_cast<std::size_t>(b)];
        if (begin < end) continue;
        first_of_task.push_back(b);
        end = begin + 1024;
    }
    const auto tasks = static_cast<std::int64_t>(first_of_task.size());
    first_of_task.push_back(documents);

    Arena slot(nullptr);
    detail::MaxsimScratch(slot, x.q.rows, x.q.cols);
    const std::int64_t slots = context.executor().concurrency();
    std::byte* const memory = context.workspace().reserve(static_cast<std::size_t>(slots * slot.used()));
    const detail::MaxsimFunction function = detail::maxsim_documents(active_isa());
    run_tasks(context.executor(), tasks, [&](std::int64_t i, int slot_number) {
        const auto n = static_cast<std::size_t>(i);
        function(job, first_of_task[n], first_of_task[n + 1], memory + slot_number * slot.used());
    });
}

ATTENTA_END
