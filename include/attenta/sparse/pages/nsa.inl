#pragma once

#include <attenta/core/run_tasks.hpp>
#include <attenta/engine/select/request.hpp>
#include <attenta/sparse/further_outputs.hpp>
#include <attenta/sparse/limit_mask.hpp>
#include <attenta/sparse/pages/nsa.hpp>
#include <attenta/sparse/row_softmax.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

ATTENTA_BEGIN

ATTENTA_INLINE NsaBlockMeans::NsaBlockMeans(const Shape& shape, Dtype storage) : shape_(shape) {
    detail::require_at_least("NsaBlockMeans", "stride", shape.stride, 1);
    detail::require_at_least("NsaBlockMeans", "size", shape.size, 1);
    if (shape.size % shape.stride != 0)
        fail("NsaBlockMeans", "size is " + std::to_string(shape.size) + ", needs a multiple of the stride " +
                                  std::to_string(shape.stride));
    for (auto [side, dim] : {std::pair{&k_, shape.dim}, {&v_, shape.dim_v}}) {
        side->table = KeyTable(shape.kv_heads, dim, storage);
        side->pieces.resize(static_cast<std::size_t>(shape.kv_heads * (shape.size / shape.stride) * dim));
    }
}

ATTENTA_INLINE KvView NsaBlockMeans::view() const {
    KvView kv = k_.table.view();
    kv.v = v_.table.view().k;
    return kv;
}

ATTENTA_INLINE void NsaBlockMeans::update(const KvView& kv) {
    if (kv.heads != shape_.kv_heads || kv.k.dim != shape_.dim || kv.v.dim != shape_.dim_v)
        fail("NsaBlockMeans::update", "the cache is of " + std::to_string(kv.heads) + " heads of " +
                                          std::to_string(kv.k.dim) + " and " + std::to_string(kv.v.dim) +
                                          " features, needs " + std::to_string(shape_.kv_heads) + " of " +
                                          std::to_string(shape_.dim) + " and " + std::to_string(shape_.dim_v));
    add(k_, kv);
    add(v_, detail::values_as_keys(kv));
    tokens_ = std::max(tokens_, kv.length(0));
}

/// A block is the sum of its pieces of `stride` tokens, the last of which ends with it.
ATTENTA_INLINE void NsaBlockMeans::add(Side& side, const KvView& kv) {
    const std::int64_t pieces = shape_.size / shape_.stride, dim = side.table.dim();
    std::vector<float> row(static_cast<std::size_t>(dim));
    for (std::int64_t t = tokens_; t < kv.length(0); ++t) {
        const std::int64_t piece = t / shape_.stride;
        const bool first = t % shape_.stride == 0, last = (t + 1) % shape_.stride == 0 && piece + 1 >= pieces;
        if (last) side.table.append(1);
        for (std::int64_t h = 0; h < kv.heads; ++h) {
            double* const of_head = side.pieces.data() + h * pieces * dim;
            double* const sum = of_head + piece % pieces * dim;
            if (first) std::fill_n(sum, dim, 0.0);
            detail::read_key(kv, h, t, row.data());
            for (std::int64_t c = 0; c < dim; ++c) sum[c] += double{row[static_cast<std::size_t>(c)]};
            if (!last) continue;
            for (std::int64_t c = 0; c < dim; ++c) {
                double all = 0;
                for (std::int64_t p = 0; p < pieces; ++p) all += of_head[p * dim + c];
                row[static_cast<std::size_t>(c)] = static_cast<float>(all / static_cast<double>(shape_.size));
            }
            side.table.set(h, piece + 1 - pieces, row.data());
        }
    }
}

namespace detail {

inline std::int64_t nsa_blocks(std::int64_t keys, const NsaOptions& options) {
    return keys < options.cmp_size ? 0 : (keys - options.cmp_size) / options.cmp_stride + 1;
}

/// A compressed block is seen from its last token on.
inline select::Limit seen_blocks(std::int64_t keys, const NsaOptions& options) {
    return {.count = nsa_blocks(keys, options), .shift = 1 - options.cmp_size, .unit = options.cmp_stride, .plus = 1};
}

inline void check_nsa(const NsaInputs& x, const NsaOptions& options) {
    const auto text = [](std::int64_t n) { return std::to_string(n); };
    require_at_least("nsa", "cmp_stride", options.cmp_stride, 1);
    require_at_least("nsa", "cmp_size", options.cmp_size, 1);
    for (const auto& [name, size] : {std::pair{"cmp_size", options.cmp_size}, {"slc_size", options.slc_size}})
        if (size % options.cmp_stride != 0)
            fail("nsa", std::string(name) + " is " + text(size) + ", needs a multiple of the cmp_stride " +
                            text(options.cmp_stride));
    require_at_least("nsa", "slc_size", options.slc_size, options.cmp_size);
    require_at_least("nsa", "window", options.window, 1);
    require_at_least("nsa", "init_blocks", options.init_blocks, 0);
    require_at_least("nsa", "local_blocks", options.local_blocks, 1);
    require_at_least("nsa", "top_n", options.top_n, saturating::add(options.init_blocks, options.local_blocks));
    const std::int64_t blocks = nsa_blocks(x.kv.length(0), options);
    if (x.cmp.k.data && x.cmp.length(0) != blocks)
        fail("nsa", "k_cmp has " + text(x.cmp.length(0)) + " blocks, needs " + text(blocks));
}

/// Importance of selection blocks: a compressed block counts for each of its pieces that lies in them.
struct NsaImportance {
    RowSoftmaxFunction softmax;
    float scale;
    std::int64_t pieces, pieces_of_unit;  ///< of cmp_stride tokens, of a compressed and of a selection block

    static void row(const void* parameters, const select::RowScores& r) {
        const auto& self = *static_cast<const NsaImportance*>(parameters);
        std::fill_n(r.units, r.count, 0.f);
        if (r.keys == 0) return;
        const auto keys = static_cast<std::size_t>(r.keys);
        std::vector<float> weights(keys), sum(keys);
        for (std::int64_t h = 0; h < r.heads; ++h) {
            self.softmax(r.scores + h * r.stride, r.keys, self.scale, weights.data());
            for (std::size_t c = 0; c < keys; ++c) sum[c] += weights[c];
        }
        for (std::int64_t c = 0; c < r.keys; ++c)
            for (std::int64_t piece = c; piece < c + self.pieces; ++piece)
                if (piece / self.pieces_of_unit < r.count)
                    r.units[piece / self.pieces_of_unit] += sum[static_cast<std::size_t>(c)];
    }
};

/// The compressed K and V of a call: the caller's, or means that live as long as it.
class NsaCompressed {
public:
    NsaCompressed(const NsaInputs& x, const NsaOptions& options) : kv_(x.cmp) {
        if (x.cmp.k.data) return;
        // Blocks that are larger than the sequence, of any size, are none.
        const bool some = nsa_blocks(x.kv.length(0), options) > 0;
        own_ = NsaBlockMeans(
            {x.kv.heads, x.kv.k.dim, x.kv.v.dim, some ? options.cmp_size : 1, some ? options.cmp_stride : 1});
        if (some) own_.update(x.kv);
        kv_ = own_.view();
    }
    const KvView& kv() const { return kv_; }

private:
    NsaBlockMeans own_;
    KvView kv_;
};

inline void select_nsa(const NsaInputs& x, const KvView& compressed, KeyLists& lists, const NsaOptions& options,
                       Context& context) {
    const std::int64_t keys = x.kv.length(0), size = options.slc_size;
    const float scale = options.scale.value_or(1.f / std::sqrt(static_cast<float>(x.q.dim)));
    const NsaImportance importance{row_softmax(), scale, options.cmp_size / options.cmp_stride,
                                   size / options.cmp_stride};
    select::Request r{.function = "nsa", .q = x.q, .keys = compressed, .heads = x.kv.heads};
    r.visible_keys = seen_blocks(keys, options);
    r.row = NsaImportance::row;
    r.row_parameters = &importance;
    r.units = {.count = blocks_of(keys, size), .unit = size, .plus = 1};
    r.top = options.top_n;
    r.first_forced = options.init_blocks;
    r.last_forced = options.local_blocks;
    r.q_offset = keys - x.q.tokens;
    r.unit_keys = std::min(size, std::max<std::int64_t>(keys, 1));
    r.cache_keys = keys;
    select::check(r);
    select::run(r, lists, context);
}

/// The branches' own K and V, and the outputs beside o.
inline void check_nsa_branches(const NsaInputs& x, const NsaOutputs& out, const NsaOptions& options, Context& context) {
    if (out.lse) fail("nsa", "lse is given, a sum of three attentions has none, needs null");
    for (const KvView* kv : {&x.cmp, &x.slc, &x.win})
        if (kv->k.data)
            check_sparse("nsa", InputList(x), x.q, *kv, out, options.scale, Positions::none, options.check_data,
                         context);
    for (const auto& [name, o] :
         {std::pair{"nsa: o_cmp", &out.o_cmp}, {"nsa: o_slc", &out.o_slc}, {"nsa: o_win", &out.o_win}})
        if (o->data) attention::check_tensors(name, x.q, x.kv, o, nullptr);
}

}  // namespace detail

ATTENTA_INLINE void nsa_lists(const NsaInputs& x, KeyLists& lists, const NsaOptions& options, Context& context) {
    detail::check_selection("nsa", InputList(x), x.q, x.kv);
    detail::check_nsa(x, options);
    detail::select_nsa(x, detail::NsaCompressed(x, options).kv(), lists, options, context);
}

ATTENTA_INLINE void nsa(const NsaInputs& x, const NsaOutputs& out, const NsaOptions& options, Context& context) {
    const auto call = detail::check_sparse("nsa", x, out, options, Positions::last, context);
    detail::check_nsa(x, options);
    detail::check_nsa_branches(x, out, options, context);
    if (out.o_cmp.data || out.o_slc.data || out.o_win.data) {
        detail::FurtherOutputs further(call, InputList(x));
        further.add("o_cmp", out.o_cmp);
        further.add("o_slc", out.o_slc);
        further.add("o_win", out.o_win);
    }
    const detail::NsaCompressed compressed(x, options);
    detail::CallLists lists(call);
    detail::select_nsa(x, compressed.kv(), *lists, options, context);

    detail::SparseParts parts(call, 3);
    attention::Request selected = parts.request(), window = parts.request(), blocks = parts.request();
    if (x.slc.k.data) selected.kv = x.slc;
    selected.masks = {Causal{}};
    selected.lists = {&*lists, 1};
    parts.add(selected);
    if (x.win.k.data) window.kv = x.win;
    window.masks = {Window{options.window - 1, 0}};
    parts.add(window);
    blocks.kv = compressed.kv();
    blocks.q_offset = call.first_position();
    blocks.masks = {detail::LimitMask{detail::seen_blocks(call.keys(), options)}};
    if (blocks.kv.length(0) > 0) parts.add(blocks);  // else its output stays 0

    const Heads<float> slc = parts.o(0), win = parts.o(1), cmp = parts.o(2);
    run_tasks(context.executor(), x.q.heads * x.q.tokens, [&](std::int64_t i, int) {
        const std::int64_t h = i / x.q.tokens, t = i % x.q.tokens, dim = call.kv.v.dim;
        const float g_cmp = x.g_cmp.row(h, t)[0], g_slc = x.g_slc.row(h, t)[0], g_win = x.g_win.row(h, t)[0];
        float* const o = out.o.row(h, t);
        for (std::int64_t c = 0; c < dim; ++c)
            o[c] = g_cmp * cmp.row(h, t)[c] + g_slc * slc.row(h, t)[c] + g_win * win.row(h, t)[c];
        for (const auto& [from, to] : {std::pair{&cmp, &out.o_cmp}, {&slc, &out.o_slc}, {&win, &out.o_win}})
            if (to->data) std::copy_n(from->row(h, t), dim, to->row(h, t));
    });
}

ATTENTA_END
