// What the attentions of Hosseini and Hosseini 2024 read without a projection: head h has columns [h·D, (h + 1)·D) of the raw
// inputs, as a view.
#pragma once

#include <attenta/variants/common.hpp>

#include <cstdint>
#include <optional>
#include <string>

ATTENTA_BEGIN

namespace detail {

/// Throws Error unless the columns of a raw input are those of `heads` heads, of `dim` features each where that is not 0.
inline Heads<const float> head_slices(const char* f, const char* name, const Matrices<const float>& x,
                                      std::int64_t heads, std::int64_t dim = 0) {
    if (heads < 1) fail(f, "q has no heads, needs at least one");
    if (x.cols < 1 || x.cols % heads != 0 || (dim > 0 && x.cols / heads != dim))
        fail(f, std::string(name) + " has " + checks::text(x.cols) + " columns, needs " +
                    (dim > 0 ? checks::text(dim) + " for each" : std::string("a multiple")) + " of the " +
                    checks::text(heads) + " heads of q");
    return {x.data, heads, x.rows, x.cols / heads, x.cols / heads, x.row_stride};
}

struct SliceOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    VisibleKeys visibility = {};

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        VisibleKeys::fields(visit, o.visibility);
    }
};

}  // namespace detail

ATTENTA_END
