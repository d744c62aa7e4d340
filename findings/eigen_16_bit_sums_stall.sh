#!/bin/sh
# Eigen 3.4.0 (Debian package libeigen3-dev 3.4.0-4), x86-64.
#
# sum() and mean() of Eigen::half and Eigen::bfloat16 add in 16 bits, one number after the other where the instruction set
# has no vectors of them: a sum of ones ends at 2048 (half) or 256 (bfloat16). So the mean of 10000 ones is 0.2 or 0.03
# when compiled for plain x86-64. With AVX2 it is 1 or 0.4, as there are more running sums at a time: the flags of the
# compiler decide by factors, not by digits. cast<float>().mean() is 1 everywhere.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq libeigen3-dev=3.4.0-4
dpkg -x ./libeigen3-dev*.deb .
cat > means.cpp <<'EOF'
#include <Eigen/Core>
#include <cstdio>
template <class T>
void show(const char* name, int n) {
    const Eigen::Array<T, Eigen::Dynamic, 1> ones = Eigen::Array<T, Eigen::Dynamic, 1>::Constant(n, T(1));
    std::printf("%d %s: sum %g, mean %g, mean in float %g\n", n, name, static_cast<float>(ones.sum()),
                static_cast<float>(ones.mean()), ones.template cast<float>().mean());
}
int main() {
    for (const int n : {2000, 10000}) show<Eigen::half>("halves", n), show<Eigen::bfloat16>("bfloat16s", n);
}
EOF
for flags in "-O2" "-O2 -mavx2 -mfma -mf16c"; do
    g++ -std=c++17 $flags -Iusr/include/eigen3 means.cpp -o means
    echo "$flags"
    ./means
done > seen
cat seen
cat > expected <<'EOF'
-O2
2000 halves: sum 2000, mean 1, mean in float 1
2000 bfloat16s: sum 256, mean 0.12793, mean in float 1
10000 halves: sum 2048, mean 0.204834, mean in float 1
10000 bfloat16s: sum 256, mean 0.0256348, mean in float 1
-O2 -mavx2 -mfma -mf16c
2000 halves: sum 2000, mean 1, mean in float 1
2000 bfloat16s: sum 2000, mean 1, mean in float 1
10000 halves: sum 10000, mean 1, mean in float 1
10000 bfloat16s: sum 4096, mean 0.410156, mean in float 1
EOF
diff expected seen && echo "as described"
