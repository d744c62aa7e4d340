#!/bin/sh
# Eigen 3.4.0 (Debian package libeigen3-dev 3.4.0-4), x86-64.
#
# Array::exp() of -infinity, which is how masks hide scores, is 0 only in the elements behind the last whole vector. In
# whole vectors the argument is clamped and the result is 2.93827e-39, a subnormal number above 0: so the element's place
# and the instruction set decide. A softmax written with it gives hidden keys a weight, and code that asks whether a weight is 0
# finds hidden keys visible. std::exp of the same argument is 0.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq libeigen3-dev=3.4.0-4
dpkg -x ./libeigen3-dev*.deb .
cat > hidden.cpp <<'EOF'
#include <Eigen/Core>
#include <cstdio>
#include <limits>
int main() {
    const float inf = std::numeric_limits<float>::infinity();
    for (const int n : {3, 4, 5, 8, 9}) {
        const Eigen::ArrayXf weights = Eigen::ArrayXf::Constant(n, -inf).exp();
        std::printf("%d:", n);
        for (const float w : weights) std::printf(" %g", w);
        std::puts("");
    }
}
EOF
for flags in "-O2" "-O2 -mavx2 -mfma"; do
    g++ -std=c++17 $flags -Iusr/include/eigen3 hidden.cpp -o hidden
    echo "$flags"
    ./hidden
done > seen
cat seen
cat > expected <<'EOF'
-O2
3: 0 0 0
4: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39
5: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 0
8: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39
9: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 0
-O2 -mavx2 -mfma
3: 0 0 0
4: 0 0 0 0
5: 0 0 0 0 0
8: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39
9: 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 2.93827e-39 0
EOF
diff expected seen && echo "as described"
