// Hierarchical document attention: tokens read the members of their groups, level by level. He et al. 2024, "HDT:
// Hierarchical Document Transformer".
//
//   A(i) = j that is in the group of i on some level: keep[l, i] and keep[l, j] are not 0, group[l, i] = group[l, j]
//
// and of these j <= i if `causal`. Of a document, level 0 has sentences with their anchors [CLS], level 1 for each section
// its [SEC] and the anchors of its sentences, level 2 [DOC] and all [SEC]. A pair that several levels show counts once;
// tokens that no level keeps have empty rows. Time Σ sizes of the groups of i·(D + Dv) per head.
#pragma once

#include <attenta/sparse/common.hpp>

#include <vector>

ATTENTA_BEGIN

struct HierarchicalDocumentInputs {
    Heads<const float> q;
    KvView kv;
    Heads<const std::int64_t> keep, group;

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, T, D]");
        visit("k", "v", x.kv, "[Hkv, T, D]", "[Hkv, T, Dv]");
        visit("keep", x.keep, "[L, T]");
        visit("group", x.group, "[L, T]");
    }
};

struct HierarchicalDocumentOptions {
    bool causal = false;              ///< keys after the query are not read
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    bool check_data = false;          ///< refuse NaN

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "keys after the query are not read");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("check_data", o.check_data, "refuse NaN");
    }
};

/// Who is in which group of each level.
class DocumentGroups {
public:
    static constexpr std::int64_t none = -1;

    /// Of tables [levels, tokens]. Throws Error where their sizes differ.
    DocumentGroups(Heads<const std::int64_t> keep, Heads<const std::int64_t> group);

    std::int64_t levels() const { return levels_; }
    std::int64_t tokens() const { return tokens_; }
    /// Number of a token's group, counted through all levels, or none.
    std::int64_t of(std::int64_t level, std::int64_t token) const { return numbers_.data()[level * tokens_ + token]; }
    /// Its tokens, ascending.
    std::span<const std::int64_t> members(std::int64_t group) const { return members_.data()[group]; }
    /// The pattern. Borrows this.
    Mask mask(bool causal) const;
    /// The keys that some query of each block reads: for all heads.
    KeyLists lists(bool causal, std::int64_t query_block = 64) const;

private:
    std::int64_t levels_, tokens_;
    std::vector<std::int64_t> numbers_;  ///< [levels, tokens]
    std::vector<std::vector<std::int64_t>> members_;
};

/// Throws Error on shapes that do not fit; nothing is written then. The lists that it gives are those of DocumentGroups, whose
/// mask goes with them.
void hierarchical_document(const HierarchicalDocumentInputs& x, const SparseOutputs& out,
                           const HierarchicalDocumentOptions& options = {}, Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/sparse/patterns/hierarchical_document.inl>
#endif
