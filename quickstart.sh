#!/bin/sh
# Two commands on a fresh Debian 12:
#   ./quickstart.sh         installs what is missing, builds, runs the tour
#   ./quickstart.sh test    ... and passes the tests
set -eu
cd "$(dirname "$0")"

packages="g++ cmake ninja-build pkg-config binutils libxsimd-dev libeigen3-dev libgtest-dev libbenchmark-dev
          nlohmann-json3-dev libcli11-dev"

say() { echo "quickstart: $*"; }
die() { say "$*" >&2; exit 1; }

usage() {
    cat <<EOF
usage: ./quickstart.sh [tour|test|bench|help]
  tour     build everything and run build/release/bin/tour (the default)
  test     build everything and run the tests, except the long ones
  bench    build everything and run the benchmarks
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
    help | -h | --help)
        usage ;;
    *)
        usage >&2
        exit 2 ;;
esac
