// The same call, compiled several ways. q [4, 7, 24], k [2, 33, 24], v [2, 33, 20], o [4, 7, 20].
#pragma once

struct Arrays {
    const float *q, *k, *v;
    float* o;
};

/// Gives the name of the instruction set.
using Attend = const char*(const Arrays& a);
Attend attend_library, attend_headers, attend_native;
#if defined(__x86_64__)
Attend attend_v2, attend_avx2;
#endif
