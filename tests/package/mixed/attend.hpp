// The same call, compiled three ways. q [4, 7, 24], k [2, 33, 24], v [2, 33, 20], o [4, 7, 20].
#pragma once

struct Arrays {
    const float *q, *k, *v;
    float* o;
};

/// Gives the name of the instruction set.
const char* attend_library(const Arrays& a);
const char* attend_headers(const Arrays& a);
const char* attend_headers_native(const Arrays& a);
