// Tree attention of speculative decoding: Miao et al. 2024, SpecInfer; Cai et al. 2024, Medusa; Li et al. 2024, EAGLE.
//
// The queries are nodes of a tree (or forest) of drafted tokens behind C = Tk − Tq tokens of context; key C + n is that of node
// n. A node sees the context, its ancestors and itself, as if its branch were the text:
//
//   j < C, or j − C is n or an ancestor of n;  with a window also position(key) >= position(n) − window_left
//   position(n) = C + number of ancestors, or, where the cache has positions, that behind the newest of the context
//
// A chain, parent = [−1, 0, 1, …], is causal attention of the last Tq tokens. All nodes read a key of the context once; of the
// nodes' keys a row of bits says which are seen. Rotary and other encodings take `position`, siblings the same.
#pragma once

#include <attenta/softmax/common.hpp>

#include <cstdint>
#include <optional>
#include <span>

ATTENTA_BEGIN

struct TreeMaskInputs {
    Heads<const float> q;
    KvView kv;
    std::span<const std::int64_t> parent;  ///< of each node, before it; -1: a child of the last token of context
    std::span<const float> sink = {};      ///< a finished logit that only joins the denominator

    static void list(auto&& visit, auto& x) {
        visit("q", x.q, "[Hq, Tq, D]");
        visit("k", "v", x.kv, "[Hkv, Tk, D]", "[Hkv, Tk, Dv]");
        visit("parent", x.parent, "[Tq]");
        visit("sink", x.sink, "[Hq]", Input::optional);
    }
};

struct TreeMaskOptions {
    std::optional<float> scale = {};  ///< default 1/sqrt(D)
    std::int64_t window_left = -1;    ///< positions before the node that it sees; -1: all

    static void fields(auto&& visit, auto& o) {
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
        visit("window_left", o.window_left, "positions before the node that it sees, -1: all");
    }
};

struct TreeMaskOutputs : SoftmaxOutputs {
    std::int64_t* position = nullptr;  ///< [Tq], or null
    bool* tree = nullptr;              ///< [Tq, Tq] which nodes a node sees, or null
};

/// o [Hq, Tq, Dv], lse [Hq, Tq] or null. Throws Error on shapes and options that do not fit, on nodes before their parents, on
/// more nodes than keys; nothing is written then.
void tree_mask(const TreeMaskInputs& x, const TreeMaskOutputs& out, const TreeMaskOptions& options = {},
               Context& context = default_context());

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/softmax/positions/tree_mask.inl>
#endif
