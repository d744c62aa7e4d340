// Infinite retrieval: the attention of a question to the context of a chunk scores the context's tokens; the best, widened to
// their sentences, are carried to the next chunk. Ye et al. 2025, "Infinite Retrieval: Attention Enhanced LLMs in
// Long-Context Processing", section 3.
//
//   A       = Σ_heads softmax rows, causal in the chunk
//   F_ij    = Σ A_im over m of the context in [j − ⌊phrase/2⌋, j + ⌊(phrase − 1)/2⌋]
//   score_j = Σ_{i ∈ question} w_i F_ij,   w_i = (Σ_{m ∈ question} A_im)^question_power
//
// There is no attention output. Only the rows of the question are needed, commonly of the last layer: two passes over their
// weights, then sums over phrases as differences of prefix sums. Time question rows · T · D per head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <array>

ATTENTA_BEGIN

/// q and k of all T tokens of the chunk; V is not read and may be K. sentence [b - a] numbers the sentence of each token of
/// the context [a, b).
struct InfiniRetrievalInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> sentence;
};

struct InfiniRetrievalOptions {
    std::array<std::int64_t, 2> context = {};   ///< tokens [a, b) of the chunk
    std::array<std::int64_t, 2> question = {};  ///< tokens [c, d), behind the context
    std::int64_t phrase = 8;                    ///< tokens that score together
    std::int64_t top_k = 300;                   ///< tokens that are chosen
    float question_power = 0;                   ///< 0: as in the paper; the released phrase scoring has 2
    std::optional<float> scale = {};            ///< default 1/sqrt(D)
    bool check_data = false;                    ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("context", o.context, "tokens [a, b) of the chunk");
        visit("question", o.question, "tokens [c, d) of the chunk, behind the context");
        visit("phrase", o.phrase, "tokens that score together");
        visit("top_k", o.top_k, "tokens that are chosen");
        visit("question_power", o.question_power, "weight of a row: its attention to the question to this power");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Each is given, or null where it is not wanted. n = b - a.
struct InfiniRetrievalOutputs {
    float* score = nullptr;         ///< [n]
    std::int64_t* index = nullptr;  ///< [min(top_k, n)], tokens of the context that are chosen, ascending from 0
    std::int64_t* keep = nullptr;   ///< [n], 1 for all tokens of a sentence with a chosen one, or else 0
};

/// Throws Error on shapes, ranges and options that do not fit; nothing is written then.
void infini_retrieval(const InfiniRetrievalInputs& x, const InfiniRetrievalOutputs& out,
                      const InfiniRetrievalOptions& options, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/retrieval/infini_retrieval.inl>
#include <attenta/sparse/retrieval/kernels.inl>
#endif
