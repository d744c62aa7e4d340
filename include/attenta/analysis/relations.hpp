// Self-attention relations, and how far a student's are from its teacher's. Wang et al. 2021, "MiniLMv2: Multi-Head Self-Attention Relation
// Distillation for Compressing Pretrained Transformers", eq. 4-8.
//
//   heads of q, k and v side by side, [T, H·D], are cut anew into A relation heads of width d_r = H·D / A
//   R_mn = softmax over the rows of m_a n_aᵀ / sqrt(d_r), for each pair (m, n) of q, k and v; no mask
//   kl_p = 1 / (A T) Σ_a Σ_i Σ_j R log(R / R'), R' the same relation of the student,   loss = Σ_p weight_p kl_p
//
// A divergence comes from scores, Σ_j R (s − s') − (lse − lse'), because weights vanish in sharp relations. The student may have other
// heads and dims. Time P·T²·H·D, memory for the scores of a few rows beside the relations, which may be left out.
#pragma once

#include <attenta/analysis/common/check.hpp>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

namespace analysis {

enum class RelationSide : std::uint8_t { q, k, v };
constexpr std::array<std::string_view, 3> names_of(RelationSide) { return {"q", "k", "v"}; }

struct RelationsInputs {
    Heads<const float> q, k, v;
    Heads<const float> q_student = {}, k_student = {}, v_student = {};  ///< those that the pairs name, or none

    /// S is the number of the student's heads. Sizes that begin with H are of groups, whose numbers divide each other.
    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[H, T, D]");
        visit("k", x.k, "[H, T, D]");
        visit("v", x.v, "[H, T, D]");
        visit("q_student", x.q_student, "[S, T, Ds]", Input::optional);
        visit("k_student", x.k_student, "[S, T, Ds]", Input::optional);
        visit("v_student", x.v_student, "[S, T, Ds]", Input::optional);
    }
    bool has_student() const { return q_student.data || k_student.data || v_student.data; }
};

struct RelationsOptions {
    std::int64_t relation_heads = 1;  ///< A, a divisor of H·D and of the student's
    std::vector<std::array<RelationSide, 2>> pairs = {
        {RelationSide::q, RelationSide::q}, {RelationSide::k, RelationSide::k}, {RelationSide::v, RelationSide::v}};
    std::vector<double> pair_weights = {};  ///< in the loss, one for each pair; none: 1 each

    static void fields(auto&& visit, auto& o) {
        visit("relation_heads", o.relation_heads, "heads that the vectors are cut into");
        visit("pairs", o.pairs, "what is related to what, of q, k and v");
        visit("pair_weights", o.pair_weights, "of the pairs in the loss, none: 1 each");
    }
};

struct RelationsOutputs {
    float *relations = nullptr, *kl = nullptr, *loss = nullptr;  ///< kl and loss with a student

    static void list(auto&& visit, auto& out) {
        visit("relations", out.relations, "[P, A, T, T]");
        visit("kl", out.kl, "[Ps]");
        visit("loss", out.loss, "[1]");
    }
    static void sizes(auto&& set, const RelationsInputs& x, const RelationsOptions& o) {
        set("P", std::ssize(o.pairs));
        if (o.relation_heads > 0 && o.relation_heads <= saturating::multiply(x.q.heads, x.q.dim))
            set("A", o.relation_heads);  // else they are refused
        if (x.has_student()) set("Ps", std::ssize(o.pairs));
    }
};

/// Throws Error on shapes and options that do not fit, relation heads that do not divide a width, a student without a side that a pair names, and outputs of
/// a student without one; nothing is written then.
void relations(const RelationsInputs& x, const RelationsOutputs& out, const RelationsOptions& options,
               Context& context = default_context());

}  // namespace analysis

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/analysis/relations.inl>
#endif
