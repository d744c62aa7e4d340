#pragma once

#include <attenta/analysis/kernels.hpp>
#include <attenta/analysis/retrieval_score.hpp>

#include <set>
#include <string>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline void check_retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                                  const RetrievalScoreOptions& options) {
    Check check("retrieval_score", x);
    const std::int64_t keys = x.attn.size(3), prompt = std::ssize(x.prompt_ids);
    check.range("the number of prompt_ids", prompt, 1, keys);
    check.range("needle_start", options.needle_start, 0, prompt - 1);
    check.range("needle_end", options.needle_end, options.needle_start + 1, prompt);
    check.range("topk", options.topk, 1, keys);
    check.finite("threshold", options.threshold);
    check.finite_numbers("attn", x.attn);
    check.outputs(out, x, options);
}

/// Whether one of the strongest keys of a row lies in the needle and holds `token`: then so does the strongest of those that do.
inline bool copies(const float* weights, std::int64_t keys, std::span<const std::int64_t> prompt, std::int64_t token,
                   const RetrievalScoreOptions& options) {
    std::int64_t best = -1;
    for (std::int64_t j = options.needle_start; j < options.needle_end; ++j)
        if (prompt[static_cast<std::size_t>(j)] == token && (best < 0 || weights[j] > weights[best])) best = j;
    return best >= 0 && count_stronger()(weights, keys, best) < options.topk;
}

}  // namespace detail

ATTENTA_INLINE void retrieval_score(const RetrievalScoreInputs& x, const RetrievalScoreOutputs& out,
                                    const RetrievalScoreOptions& options, Context& context) {
    detail::check_retrieval_score(x, out, options);
    const auto needle = x.prompt_ids.subspan(static_cast<std::size_t>(options.needle_start),
                                             static_cast<std::size_t>(options.needle_end - options.needle_start));
    const auto distinct = static_cast<double>(std::set<std::int64_t>(needle.begin(), needle.end()).size());
    const std::int64_t heads = x.attn.count(1, 3), keys = x.attn.size(3);
    context.executor().parallel_for(heads, [&](std::int64_t h, int) {
        std::set<std::int64_t> copied;
        std::int64_t steps = 0;
        for (std::int64_t s = 0; s < x.attn.size(0); ++s) {
            const std::int64_t token = x.generated_ids[static_cast<std::size_t>(s)];
            if (!detail::copies(x.attn.data + (s * heads + h) * keys, keys, x.prompt_ids, token, options)) continue;
            ++steps;
            copied.insert(token);
        }
        const double score = static_cast<double>(steps) / static_cast<double>(needle.size());
        if (out.score) out.score[h] = static_cast<float>(score);
        if (out.score_set) out.score_set[h] = static_cast<float>(static_cast<double>(copied.size()) / distinct);
        if (out.is_retrieval) out.is_retrieval[h] = score > options.threshold ? 1 : 0;
    });
}

}  // namespace analysis

ATTENTA_END
