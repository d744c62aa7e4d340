#pragma once

#include <attenta/engine/common/float_keys.hpp>
#include <attenta/variants/network/luong_scores.hpp>

#include <cstdint>
#include <string>
#include <utility>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless w_a is [rows, columns]; rows of −1 may be any number.
inline void check_luong_weights(const LuongTensors& x, std::int64_t rows, std::int64_t columns) {
    if (!x.w_a) fail(x.function, "w_a is null, the score needs a tensor");
    if ((rows >= 0 && x.w_a.rows != rows) || x.w_a.cols != columns)
        fail(x.function, "w_a is [" + checks::text(x.w_a.rows) + ", " + checks::text(x.w_a.cols) + "], needs [" +
                             (rows < 0 ? std::string("A") : checks::text(rows)) + ", " + checks::text(columns) + "]");
}

ATTENTA_INLINE void check_luong(const LuongTensors& x) {
    const std::int64_t keys = x.kv.length(0);
    switch (x.score) {
        case LuongScore::dot:
            if (x.q.dim != x.kv.k.dim)
                fail(x.function, "k has " + checks::text(x.kv.k.dim) + " features, score dot needs the " +
                                     checks::text(x.q.dim) + " of q");
            break;
        case LuongScore::general:
            check_luong_weights(x, x.q.dim, x.kv.k.dim);
            break;
        case LuongScore::concat:
            check_luong_weights(x, -1, x.q.dim + x.kv.k.dim);
            if (static_cast<std::int64_t>(x.v_a.size()) != x.w_a.rows)
                fail(x.function, "v_a has " + checks::text(static_cast<std::int64_t>(x.v_a.size())) +
                                     " elements, needs the " + checks::text(x.w_a.rows) + " rows of w_a");
            check_table(x.function, "W_a q", x.q.heads, x.q.tokens, x.w_a.rows);
            check_table(x.function, "W_a k", x.kv.heads, keys, x.w_a.rows);
            break;
        case LuongScore::location:
            check_luong_weights(x, -1, x.q.dim);
            if (x.w_a.rows < keys)
                fail(x.function, "w_a has " + checks::text(x.w_a.rows) + " rows, needs one for each of " +
                                     checks::text(keys) + " keys");
            break;
    }
}

/// Rows of W_a as keys of all heads; values in pages or at a start are copied, for rows of W_a lie in the order of the tokens.
inline KvView keyed_by_location(const LuongTensors& x, std::vector<float>& values) {
    KvView kv = x.kv;
    if (kv.page_size > 0 || kv.starts) {
        KvView swapped = kv;
        std::swap(swapped.k, swapped.v);
        const Heads<const float> v = keys_as_floats(swapped, values);
        KvView flat = KvView::of(v, v);
        flat.positions = kv.positions;
        flat.positions_stride = kv.positions_stride;
        kv = flat;
    }
    kv.k = {x.w_a.data, Dtype::f32, x.w_a.cols, 0, x.w_a.row_stride};
    return kv;
}

ATTENTA_INLINE void score_luong(const LuongTensors& x, attention::Request& r, LuongMemory& m, Context& context) {
    switch (x.score) {
        case LuongScore::dot:
            break;
        case LuongScore::general: {
            m.queries.resize(static_cast<std::size_t>(x.q.heads * x.q.tokens * x.w_a.cols));
            const Matrices<float> folded{m.queries.data(), x.q.heads, x.q.tokens, x.w_a.cols};
            dense::multiply(dense::matrices_of(x.q), x.w_a, folded, {}, context);
            r.q = hnd(static_cast<const float*>(m.queries.data()), x.q.heads, x.q.tokens, x.w_a.cols);
            break;
        }
        case LuongScore::concat:
            m.tanh.make({columns_of(x.w_a, 0, x.q.dim), columns_of(x.w_a, x.q.dim, x.kv.k.dim), x.v_a, {}, r.scale},
                        x.q, keys_as_floats(x.kv, m.keys), context);
            leave_products_out(r);
            r.edits.push_back(edit(m.tanh.edit()));
            break;
        case LuongScore::location:
            r.kv = keyed_by_location(x, m.values);
            break;
    }
}

}  // namespace detail

ATTENTA_END
