#!/bin/sh
# Two commands on a fresh Debian 12:
#   ./quickstart.sh         installs what is missing, builds, runs the tour
#   ./quickstart.sh test    ... and passes the tests
# A third fetches what README's tables compare with: ./quickstart.sh peers
set -eu
cd "$(dirname "$0")"

packages="g++ cmake ninja-build pkg-config binutils libxsimd-dev libeigen3-dev libgtest-dev libbenchmark-dev
          nlohmann-json3-dev libcli11-dev"

peers_packages="libopenblas-dev libdnnl-dev"
peers_npm="@node-llama-cpp/linux-x64@3.22.1 onnxruntime-node@1.30.0"  # ggml 0.25.1, onnxruntime 1.30.0

say() { echo "quickstart: $*"; }
die() { say "$*" >&2; exit 1; }

usage() {
    cat <<EOF
usage: ./quickstart.sh [tour|test|bench|peers|help]
  tour     build everything and run build/release/bin/tour (the default)
  test     build everything and run the tests, except the long ones
  bench    build everything and run the benchmarks
  peers    fetch what the benchmarks compare with: OpenBLAS and oneDNN from Debian, ggml and onnxruntime from npm
Missing Debian packages are installed first, as root or with sudo.
EOF
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "root or sudo is needed to install packages"
    fi
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_missing() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say "not a Debian system; going on with what is here. Needed, by their Debian names:" $packages
        return
    fi
    missing=""
    for package in $packages; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    as_root apt-get update -qq || die "apt-get update failed"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        die "could not install$missing"
}

# Their packages bring the libraries alone, which is what bench/peers needs. No script of theirs is run.
fetch_peers() {
    packages="$packages $peers_packages"
    command -v npm >/dev/null || packages="$packages npm"
    install_missing
    [ "$(uname -m)" = x86_64 ] || die "ggml and onnxruntime are fetched for x86_64 only"
    rm -rf build/peers
    mkdir -p build/peers
    cd build/peers
    for package in $peers_npm; do
        say "fetching $package"
        npm pack --silent "$package" >/dev/null || die "could not fetch $package"
    done
    for archive in *.tgz; do
        tar -xzf "$archive" --wildcards --transform 's|.*/||' '*linux*x64/lib*.so*'
    done
    rm -f ./*.tgz libllama*
    ln -s libggml.v*.so libggml.so
    ln -s libonnxruntime.so.1 libonnxruntime.so
    say "in build/peers:" ./*.so
}

build() {
    install_missing
    cmake --preset release
    cmake --build --preset release --parallel "$(nproc)"
}

case "${1:-tour}" in
    tour)
        build
        exec build/release/bin/tour ;;
    test)
        build
        exec ctest --preset release -j2 ;;
    bench)
        build
        exec build/release/bin/attenta-bench ;;
    peers)
        fetch_peers ;;
    help | -h | --help)
        usage ;;
    *)
        usage >&2
        exit 2 ;;
esac
