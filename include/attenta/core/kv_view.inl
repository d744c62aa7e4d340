#pragma once

#include <attenta/core/checked_int.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/kv_view.hpp>

#include <algorithm>
#include <limits>
#include <string>

ATTENTA_BEGIN

ATTENTA_INLINE void KvView::check_pair(const char* function, Size k, Size v) {
    if (v.heads != k.heads || v.tokens != k.tokens)
        fail(function, "v has " + std::to_string(v.heads) + " heads of " + std::to_string(v.tokens) +
                           " tokens, k has " + std::to_string(k.heads) + " of " + std::to_string(k.tokens));
}

ATTENTA_INLINE KvView KvView::at(std::int64_t layer) const {
    KvView r = *this;
    for (Rows* s : {&r.k, &r.v}) {
        const CheckedInt elements = CheckedInt(layer) * s->layer_stride;
        if (layer < 0 || !(elements * size_of(s->dtype)).valid())
            fail("KvView::at", "layer is " + std::to_string(layer) + ", needs 0 to the number of layers - 1");
        if (layer > 0 && s->layer_stride < 1)
            fail("KvView::at", std::string("layer_stride of ") + (s == &r.k ? "k" : "v") + " is " +
                                   std::to_string(s->layer_stride) + ", layer " + std::to_string(layer) +
                                   " needs at least 1");
        s->data = bytes(*s, elements.value());
    }
    return r;
}

ATTENTA_INLINE KvView KvView::in_pages(const Pages& p) const {
    KvView r = *this;
    const auto refuse = [](const std::string& why) { fail("KvView::paged", why); };
    const auto of_v = [&](const char* name, std::int64_t stride, std::int64_t of_k) {
        if (stride == 0 && of_k != 0 && v.dim != k.dim)
            refuse(std::string(name) + " is 0, rows of v have " + std::to_string(v.dim) + " features and those of k " +
                   std::to_string(k.dim) + ": needs one of its own");
        return stride == 0 ? of_k : stride;
    };
    if (tokens < 1) refuse("k has " + std::to_string(tokens) + " tokens in a page, needs at least 1");
    if (p.page_stride < 1)
        refuse("page_stride is " + std::to_string(p.page_stride) + ", needs the elements from page to page");
    if (!p.lengths && p.sequences > 0) refuse("lengths is null, needs " + std::to_string(p.sequences) + " lengths");
    r.k.page_stride = p.page_stride;
    r.v.page_stride = of_v("v_page_stride", p.v_page_stride, p.page_stride);
    r.k.layer_stride = p.layer_stride;
    r.v.layer_stride = of_v("v_layer_stride", p.v_layer_stride, p.layer_stride);
    r.page_size = tokens;
    r.pages = p.pages;
    r.block_table = p.block_table;
    r.table_stride = p.table_stride;
    r.lengths = p.lengths;
    r.sequences = p.sequences;
    r.tokens = 0;
    return r;
}

ATTENTA_INLINE std::int64_t KvView::ring_slot(std::int64_t token, std::int64_t slots, std::int64_t sink) {
    if (sink < 0 || sink >= slots)
        fail("KvView::ring_slot",
             "sink is " + std::to_string(sink) + ", needs 0 to fewer than the " + std::to_string(slots) + " slots");
    if (token < 0) fail("KvView::ring_slot", "token is " + std::to_string(token) + ", needs at least 0");
    return token < sink ? token : sink + (token - sink) % (slots - sink);
}

ATTENTA_INLINE KvView KvView::in_ring(const Ring& p) const {
    const std::int64_t slots = tokens;
    constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
    if (p.sink < 0 || p.sink >= slots)
        fail("KvView::ring",
             "sink is " + std::to_string(p.sink) + ", needs 0 to fewer than the " + std::to_string(slots) + " slots");
    if (p.tokens < 0 || p.tokens > most)
        fail("KvView::ring", "tokens is " + std::to_string(p.tokens) + ", needs 0 to " + std::to_string(most));
    if (static_cast<std::int64_t>(p.positions.size()) < slots)
        fail("KvView::ring",
             "positions has " + std::to_string(p.positions.size()) + " elements, needs " + std::to_string(slots));
    KvView r = *this;
    r.tokens = std::min(slots, p.tokens);
    r.positions = p.positions.data();
    r.positions_stride = slots;
    const auto place = [&](std::int64_t t) {
        p.positions.data()[ring_slot(t, slots, p.sink)] = static_cast<std::int32_t>(t);
    };
    for (std::int64_t t = 0; t < std::min(p.sink, p.tokens); ++t) place(t);
    for (std::int64_t t = std::max(p.sink, p.tokens - (slots - p.sink)); t < p.tokens; ++t) place(t);
    return r;
}

ATTENTA_END
