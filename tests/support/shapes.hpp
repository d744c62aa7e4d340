// Awkward shapes, shared by the tests of all mechanisms.
#pragma once

#include <cstdint>
#include <ostream>
#include <vector>

namespace attenta_test {

struct Shape {
    std::int64_t Hq = 1, Hkv = 1, Tq = 1, Tk = 1, D = 64, Dv = 64;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& s) {
    return out << "Hq " << s.Hq << " Hkv " << s.Hkv << " Tq " << s.Tq << " Tk " << s.Tk << " D " << s.D << " Dv "
               << s.Dv;
}

/// One token, odd sizes, Tq below, at and above Tk, D != Dv, groups of 1, 2, 3, 4, 5, 7, 8 and 32 heads.
inline std::vector<Shape> awkward_shapes() {
    return {
        {1, 1, 1, 1, 1, 1},       {1, 1, 1, 1, 64, 64},     {2, 2, 3, 5, 7, 1},        {2, 1, 1, 17, 1, 7},
        {3, 3, 17, 29, 16, 24},   {3, 1, 2, 16, 33, 33},    {4, 2, 5, 37, 20, 12},     {8, 2, 13, 15, 64, 80},
        {5, 1, 1, 129, 80, 64},   {7, 1, 9, 128, 96, 96},   {32, 4, 1, 300, 128, 128}, {32, 1, 2, 127, 64, 256},
        {8, 1, 8, 64, 256, 33},   {2, 2, 65, 63, 96, 128},  {4, 4, 33, 7, 40, 40},     {1, 1, 100, 3, 8, 8},
        {2, 1, 70, 200, 128, 64}, {3, 3, 200, 1, 64, 64},   {1, 1, 97, 97, 128, 128},  {6, 2, 31, 255, 48, 72},
        {14, 2, 11, 257, 33, 96}, {16, 2, 24, 100, 100, 1}, {2, 2, 1, 1000, 7, 33},    {1, 1, 129, 130, 65, 63},
        {4, 2, 160, 161, 80, 80}, {4, 1, 16, 513, 1, 128},
    };
}

/// A prefill, a chunk inside a longer context, a few rows, one token, and one token with keys enough to be split.
inline std::vector<Shape> one_shape_of_each_regime() {
    return {{4, 2, 70, 90, 33, 40},
            {6, 2, 37, 200, 24, 16},
            {4, 1, 3, 210, 40, 24},
            {6, 2, 1, 130, 64, 33},
            {8, 2, 1, 3000, 32, 32}};
}

}  // namespace attenta_test
