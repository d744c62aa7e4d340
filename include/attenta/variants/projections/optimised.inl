#pragma once

#include <attenta/variants/projections/optimised.hpp>

#include <cstdint>

ATTENTA_BEGIN

namespace detail {

/// Masks of a call for a range of its query heads, the first of which is head 0 of the range.
struct MasksOfHeads {
    MaskSet masks;
    int first;

    void bits(const QueryRow& r, const KeyBlock& keys, std::uint64_t* words) const { masks.bits(of(r), keys, words); }
    Cover classify(const QueryRow& a, const QueryRow& b, const KeyBlock& keys) const {
        return masks.classify(of(a), of(b), keys);
    }
    Interval hull(const QueryRow& a, const QueryRow& b) const { return masks.hull(of(a), of(b)); }

private:
    QueryRow of(QueryRow r) const {
        r.head += first;
        return r;
    }
};

/// The call for query heads [first, first + heads) alone, which have one key head.
inline SoftmaxCall call_of_heads(const SoftmaxCall& whole, const Heads<const float>& k, const Heads<const float>& v,
                                 std::int64_t first, std::int64_t heads) {
    const auto part = [&](auto view) {
        view.data += first * view.head_stride;
        view.heads = heads;
        return view;
    };
    SoftmaxCall call = whole;
    attention::Request& r = call.request;
    r.q = part(r.q);
    r.kv = KvView::of(k, part(v));
    r.masks.clear();
    if (!whole.request.masks.empty())
        r.masks.push_back(
            MasksOfHeads{{whole.request.masks.data(), static_cast<std::int64_t>(whole.request.masks.size())},
                         static_cast<int>(first)});
    call.out.o = part(call.out.o);
    if (call.out.lse) call.out.lse += first * r.q.tokens;
    return call;
}

}  // namespace detail

ATTENTA_INLINE void optimised(const OptimisedInputs& x, const SoftmaxOutputs& out, const OptimisedOptions& options,
                              Context& context) {
    const char* const f = "optimised";
    const InputList inputs(x);
    check_given(f, inputs);
    check_shapes(f, inputs, {});
    const std::int64_t heads = x.q.heads;
    const Heads<const float> v = detail::head_slices(f, "x_v", x.x_v, heads);
    if (x.k.heads < 1 || heads % x.k.heads != 0)
        fail(f, "q has " + checks::text(heads) + " heads, needs a multiple of the " + checks::text(x.k.heads) +
                    " heads of k");
    const std::int64_t group = heads / x.k.heads;
    const auto keys_of = [&](std::int64_t head) {
        return Heads<const float>{x.k.row(head, 0), group, x.k.tokens, x.k.dim, 0, x.k.token_stride};
    };
    Heads<const float> k = x.k;
    if (group > 1) k = keys_of(0), k.heads = heads;
    const KvView kv = KvView::of(k, v);
    const detail::SoftmaxCall call =
        detail::check_sliced(f, inputs, x.q, kv, out, options.scale, options.visibility, context);
    if (group == 1) return call.run();
    // Heads that share a key have values of their own: a call for each key.
    for (std::int64_t h = 0; h < x.k.heads; ++h) detail::call_of_heads(call, keys_of(h), v, h * group, group).run();
}

ATTENTA_END
