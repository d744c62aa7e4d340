#pragma once

#include <attenta/analysis/kernels.hpp>
#include <attenta/analysis/relations.hpp>
#include <attenta/engine/dense/dense.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

namespace detail {

inline std::array<Heads<const float>, 3> students(const RelationsInputs& x) {
    return {x.q_student, x.k_student, x.v_student};
}
/// All that are given have its sizes.
inline Heads<const float> any_student(const RelationsInputs& x) {
    return x.q_student.data ? x.q_student : x.k_student.data ? x.k_student : x.v_student;
}

inline void check_relations(const RelationsInputs& x, const RelationsOutputs& out, const RelationsOptions& options) {
    Check check("relations", x);
    if (x.has_student()) {
        constexpr const char* names[] = {"q_student", "k_student", "v_student"};
        for (const auto& pair : options.pairs)
            for (const RelationSide side : pair) {
                const auto s = static_cast<std::size_t>(side);
                check.needs(names[s], students(x)[s].data != nullptr, "a pair of a student");
            }
    } else if (out.loss) {
        check.refuse("loss is given, needs a student");
    }
    check.at_least("relation_heads", options.relation_heads, 1);
    const auto divides = [&](const char* name, const Heads<const float>& one) {
        check.scratch("the heads side by side", one.heads, one.tokens, one.dim);
        if (one.heads * one.dim % options.relation_heads != 0)
            check.refuse("relation_heads is " + checks::text(options.relation_heads) + ", needs a divisor of the " +
                         checks::text(one.heads * one.dim) + " numbers that a token of " + name + " has");
    };
    divides("q", x.q);
    if (x.has_student())
        divides(x.q_student.data ? "q_student" : x.k_student.data ? "k_student" : "v_student", any_student(x));
    if (options.pairs.empty()) check.refuse("pairs is empty, needs a pair of q, k and v");
    if (!options.pair_weights.empty() && options.pair_weights.size() != options.pairs.size())
        check.refuse("pair_weights has " + std::to_string(options.pair_weights.size()) + " numbers, needs one for " +
                     "each of the " + std::to_string(options.pairs.size()) + " pairs");
    for (const double w : options.pair_weights) check.finite("pair_weights", w);
    check.scratch("the scores of a token", options.relation_heads, x.q.tokens, 1);
    check.outputs(out, x, options);
}

/// q, k and v with their heads side by side, as relation heads.
class RelationHeads {
public:
    /// `sizes` is one of the sides that are given.
    RelationHeads(const std::array<Heads<const float>, 3>& sides, const Heads<const float>& sizes,
                  std::int64_t relation_heads, Context& context)
        : heads_(relation_heads), tokens_(sizes.tokens), width_(sizes.heads * sizes.dim) {
        for (std::size_t s = 0; s < sides.size(); ++s) {
            const Heads<const float>& x = sides[s];
            if (!x.data) continue;
            memory_[s].resize(static_cast<std::size_t>(tokens_ * width_));
            for_pieces(context, tokens_, 64, [&](std::int64_t begin, std::int64_t end) {
                for (std::int64_t t = begin; t < end; ++t)
                    for (std::int64_t h = 0; h < x.heads; ++h)
                        std::copy_n(x.row(h, t), x.dim, memory_[s].data() + t * width_ + h * x.dim);
            });
        }
    }

    /// to [A, count, T] = the scores of tokens from `first` on with all tokens.
    void scores(const std::array<RelationSide, 2>& pair, std::int64_t first, Matrices<float> to,
                Context& context) const {
        const auto alpha = static_cast<float>(1 / std::sqrt(static_cast<double>(width_ / heads_)));
        dense::multiply(side(pair[0], first, to.rows), side(pair[1], 0, tokens_), to,
                        {.b_transposed = true, .alpha = alpha}, context);
    }

private:
    Matrices<const float> side(RelationSide s, std::int64_t first, std::int64_t count) const {
        const float* const x = memory_[static_cast<std::size_t>(s)].data();
        return {x + first * width_, heads_, count, width_ / heads_, width_, width_ / heads_};
    }

    std::int64_t heads_, tokens_, width_;
    std::array<std::vector<float>, 3> memory_;
};

/// What the relations of one pair are written to.
struct RelationPair {
    std::array<RelationSide, 2> sides;
    float* relations;    ///< [A, T, T], or null
    double* divergence;  ///< [A, T], or null
};

class RelationRows {
public:
    RelationRows(const RelationHeads& teacher, const RelationHeads* student, std::int64_t heads, std::int64_t tokens,
                 Context& context)
        : teacher_(teacher), student_(student), heads_(heads), tokens_(tokens), context_(context) {
        constexpr std::int64_t at_a_time = std::int64_t{1} << 20;
        step_ = std::clamp<std::int64_t>(at_a_time / (heads * tokens), 1, tokens);
    }

    void relate(const RelationPair& pair) {
        for (std::int64_t first = 0; first < tokens_; first += step_)
            relate(pair, first, std::min(step_, tokens_ - first));
    }

private:
    void relate(const RelationPair& pair, std::int64_t first, std::int64_t count) {
        const Matrices<float> scores =
            pair.relations
                ? Matrices<float>{pair.relations + first * tokens_, heads_, count, tokens_, tokens_, tokens_ * tokens_}
                : room(scores_, count);
        Matrices<float> others;
        teacher_.scores(pair.sides, first, scores, context_);
        if (pair.divergence) {
            others = room(others_, count);
            student_->scores(pair.sides, first, others, context_);
        }
        constexpr std::int64_t of_task = 16;
        for_pieces(context_, heads_ * count, of_task, [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t r = begin; r < end; ++r) {
                const std::int64_t a = r / count, i = r % count;
                float* const row = scores.row(a, i);
                if (pair.divergence)
                    pair.divergence[a * tokens_ + first + i] =
                        double{score_divergence()(row, others.row(a, i), tokens_)};
                if (pair.relations) weigh_scores()(row, tokens_, row);
            }
        });
    }
    Matrices<float> room(std::vector<float>& memory, std::int64_t count) const {
        memory.resize(static_cast<std::size_t>(heads_ * step_ * tokens_));
        return {memory.data(), heads_, count, tokens_};
    }

    const RelationHeads& teacher_;
    const RelationHeads* student_;
    std::int64_t heads_, tokens_, step_ = 1;
    Context& context_;
    std::vector<float> scores_, others_;
};

}  // namespace detail

ATTENTA_INLINE void relations(const RelationsInputs& x, const RelationsOutputs& out, const RelationsOptions& options,
                              Context& context) {
    detail::check_relations(x, out, options);
    const std::int64_t heads = options.relation_heads, tokens = x.q.tokens, rows = heads * tokens;
    const bool diverges = out.kl || out.loss;
    if (!out.relations && !diverges) return;
    const detail::RelationHeads teacher({x.q, x.k, x.v}, x.q, heads, context);
    std::optional<detail::RelationHeads> student;
    if (diverges) student.emplace(detail::students(x), detail::any_student(x), heads, context);
    detail::RelationRows all(teacher, student ? &*student : nullptr, heads, tokens, context);
    std::vector<double> divergence(static_cast<std::size_t>(diverges ? rows : 0));
    double loss = 0;
    for (std::size_t p = 0; p < options.pairs.size(); ++p) {
        const auto place = static_cast<std::int64_t>(p);
        all.relate({options.pairs[p], out.relations ? out.relations + place * rows * tokens : nullptr,
                    diverges ? divergence.data() : nullptr});
        const double kl = std::accumulate(divergence.begin(), divergence.end(), 0.0) / static_cast<double>(rows);
        if (out.kl) out.kl[place] = static_cast<float>(kl);
        loss += (options.pair_weights.empty() ? 1 : options.pair_weights[p]) * kl;
    }
    if (out.loss) out.loss[0] = static_cast<float>(loss);
}

}  // namespace analysis

ATTENTA_END
