#include "attend.hpp"

#include <attenta/attenta.hpp>

const char* ATTEND(const Arrays& a) {
    attenta::softmax_attention(attenta::hnd(a.q, 4, 7, 24), attenta::hnd(a.k, 2, 33, 24), attenta::hnd(a.v, 2, 33, 20),
                               attenta::hnd(a.o, 4, 7, 20), {.causal = true, .softcap = 5});
    return attenta::name(attenta::active_isa());
}
