#include "bench/ruler/roofline.hpp"

#include "bench/ruler/median.hpp"
#include "bench/ruler/memory.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bench {
namespace {

using attenta::Isa;
using Clock = std::chrono::steady_clock;

std::atomic<float> sink;  // keeps what the probes compute

/// Seconds from the first start to the last end of work(thread) on all threads, which start together.
template <class Work>
double seconds_together(int threads, const Work& work) {
    std::atomic<int> waiting = threads;
    std::vector<Clock::time_point> begin(static_cast<std::size_t>(threads)), end(begin);
    const auto body = [&](int thread) {
        --waiting;
        while (waiting > 0) std::this_thread::yield();
        begin[static_cast<std::size_t>(thread)] = Clock::now();
        work(thread);
        end[static_cast<std::size_t>(thread)] = Clock::now();
    };
    std::vector<std::thread> others;
    try {
        for (int t = 1; t < threads; ++t) others.emplace_back(body, t);
    } catch (...) {
        // The system gives no more: those that there are need not wait.
        waiting = 0;
        for (auto& t : others) t.join();
        throw;
    }
    body(0);
    for (auto& t : others) t.join();
    return std::chrono::duration<double>(*std::max_element(end.begin(), end.end()) -
                                         *std::min_element(begin.begin(), begin.end()))
        .count();
}

// FMA: chains x <- x·a + b that do not depend on each other. They start at different values and know nothing about a
// and b, or the compiler would leave some of them out.

volatile float half = 0.5f, one = 1.0f;

#if defined(__x86_64__)
template <std::size_t... I>
float chains_sse2(std::int64_t steps, std::index_sequence<I...>) {
    const __m128 a = _mm_set1_ps(half), b = _mm_set1_ps(one);
    __m128 x[] = {_mm_set1_ps(static_cast<float>(I))...};
    for (std::int64_t s = 0; s < steps; ++s) ((x[I] = _mm_add_ps(_mm_mul_ps(x[I], a), b)), ...);
    return (_mm_cvtss_f32(x[I]) + ...);
}

template <std::size_t... I>
[[gnu::target("avx2,fma")]] float chains_avx2(std::int64_t steps, std::index_sequence<I...>) {
    const __m256 a = _mm256_set1_ps(half), b = _mm256_set1_ps(one);
    __m256 x[] = {_mm256_set1_ps(static_cast<float>(I))...};
    for (std::int64_t s = 0; s < steps; ++s) ((x[I] = _mm256_fmadd_ps(x[I], a, b)), ...);
    return (_mm256_cvtss_f32(x[I]) + ...);
}

template <std::size_t... I>
[[gnu::target("avx512f")]] float chains_avx512(std::int64_t steps, std::index_sequence<I...>) {
    const __m512 a = _mm512_set1_ps(half), b = _mm512_set1_ps(one);
    __m512 x[] = {_mm512_set1_ps(static_cast<float>(I))...};
    for (std::int64_t s = 0; s < steps; ++s) ((x[I] = _mm512_fmadd_ps(x[I], a, b)), ...);
    return (_mm512_cvtss_f32(x[I]) + ...);
}
#elif defined(__aarch64__)
template <std::size_t... I>
float chains_neon64(std::int64_t steps, std::index_sequence<I...>) {
    const float32x4_t a = vdupq_n_f32(half), b = vdupq_n_f32(one);
    float32x4_t x[] = {vdupq_n_f32(static_cast<float>(I))...};
    for (std::int64_t s = 0; s < steps; ++s) ((x[I] = vfmaq_f32(b, x[I], a)), ...);
    return (vgetq_lane_f32(x[I], 0) + ...);
}
#endif

/// `chains` chains of `width` floats each.
struct FmaProbe {
    float (*run)(std::int64_t steps);
    int chains, width;
};

template <std::size_t... Chains>
void add_probes(std::vector<FmaProbe>& probes, Isa isa) {
    const auto add = [&]<std::size_t N>(std::index_sequence<N>) {
        const int n = static_cast<int>(N);
#if defined(__x86_64__)
        if (isa == Isa::sse2)
            probes.push_back({[](auto s) { return chains_sse2(s, std::make_index_sequence<N>()); }, n, 4});
        if (isa == Isa::avx2)
            probes.push_back({[](auto s) { return chains_avx2(s, std::make_index_sequence<N>()); }, n, 8});
        if (isa == Isa::avx512)
            probes.push_back({[](auto s) { return chains_avx512(s, std::make_index_sequence<N>()); }, n, 16});
#elif defined(__aarch64__)
        if (isa == Isa::neon64)
            probes.push_back({[](auto s) { return chains_neon64(s, std::make_index_sequence<N>()); }, n, 4});
#endif
    };
    (add(std::index_sequence<Chains>()), ...);
}

std::vector<FmaProbe> fma_probes(Isa isa) {
    std::vector<FmaProbe> probes;
    // sse2 and avx2 have 16 registers: more than 14 chains would only measure spills.
    add_probes<8, 10, 12, 14>(probes, Isa::sse2);
    if (isa == Isa::avx2 || isa == Isa::avx512) add_probes<8, 10, 12, 14>(probes, Isa::avx2);
    if (isa == Isa::avx512 || isa == Isa::neon64) add_probes<8, 10, 12, 16, 20, 24, 28>(probes, isa);
    return probes;
}

// Stream: every byte of every 64-byte line is read, with as little arithmetic as keeps the loads alive, by 128-bit
// loads (two per cycle are far more than memory delivers) and by 512-bit loads, which leave more room for lines in
// flight.

using Quad = std::uint32_t __attribute__((vector_size(16)));
using Line = Quad[4];

inline std::uint32_t folded(const Quad& x) { return x[0] ^ x[1] ^ x[2] ^ x[3]; }

/// S are the numbers of the streams; `ahead` is the distance of the software prefetch in lines, 0: none.
template <int ahead, std::size_t... S>
std::uint32_t read_lines(const Line* data, std::size_t lines, std::index_sequence<S...>) {
    const std::size_t each = lines / sizeof...(S);
    Quad x[sizeof...(S)] = {};
    const auto read = [](Quad& sum, const Line* p) {
        if constexpr (ahead > 0) __builtin_prefetch(p + ahead);
        sum ^= ((*p)[0] ^ (*p)[1]) ^ ((*p)[2] ^ (*p)[3]);
    };
    for (std::size_t i = 0; i < each; ++i) (read(x[S], data + S * each + i), ...);
    return (folded(x[S]) ^ ...);
}

#if defined(__x86_64__)
template <int ahead, std::size_t... S>
[[gnu::target("avx512f")]] std::uint32_t read_lines_avx512(const Line* data, std::size_t lines,
                                                           std::index_sequence<S...>) {
    const std::size_t each = lines / sizeof...(S);
    __m512i x[] = {_mm512_set1_epi32(static_cast<int>(S))...};
    for (const Line *p = data, *end = data + each; p < end; ++p) {
        if constexpr (ahead > 0) (__builtin_prefetch(p + S * each + ahead), ...);
        ((x[S] = _mm512_xor_si512(x[S], _mm512_load_si512(p + S * each))), ...);
    }
    return static_cast<std::uint32_t>((x[S][0] ^ ...));
}
#endif

using StreamProbe = std::uint32_t (*)(const Line*, std::size_t);

template <int ahead, std::size_t... Streams>
void add_probes(std::vector<StreamProbe>& probes) {
    (probes.push_back(
         [](auto data, auto n) { return read_lines<ahead>(data, n, std::make_index_sequence<Streams>()); }),
     ...);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        (probes.push_back(
             [](auto data, auto n) { return read_lines_avx512<ahead>(data, n, std::make_index_sequence<Streams>()); }),
         ...);
#endif
}

std::vector<StreamProbe> stream_probes() {
    std::vector<StreamProbe> probes;
    add_probes<0, 1, 2, 4, 8>(probes);
    add_probes<16, 1, 2, 4, 8>(probes);
    return probes;
}

}  // namespace

double fma_peak(int threads, Isa isa) {
    constexpr std::int64_t operations = 1 << 20;  // vector operations of a run: a quarter of a millisecond
    double peak = 0;
    for (int round = 0; round < 3; ++round) {
        for (const FmaProbe& p : fma_probes(isa)) {
            const std::int64_t steps = operations / p.chains;
            const double t = seconds_together(threads, [&](int) { sink = p.run(steps); });
            peak = std::max(peak, 2.0 * p.width * p.chains * static_cast<double>(steps) * threads / t);
        }
    }
    return peak;
}

Isa widest_isa() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return Isa::avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Isa::avx2 : Isa::sse2;
#else
    return Isa::neon64;
#endif
}

double stream_bandwidth(int threads) {
    constexpr std::size_t slice = std::size_t{32} << 20;  // bytes of a run per thread: about a millisecond
    static const HugeBuffer buffer = [] {
        HugeBuffer b(std::clamp(4 * last_level_cache() + slice, 8 * slice, std::size_t{1} << 30));
        std::memset(b.data(), 1, b.size());  // untouched memory would be one page of zeros, in cache
        return b;
    }();
    // Slices are taken in turn, so that a slice has left the cache when its turn comes again.
    static std::size_t next = 0;
    const std::size_t slices = buffer.size() / slice;
    constexpr int rounds = 7;
    double bandwidth = 0;
    for (const StreamProbe probe : stream_probes()) {
        double seconds[rounds];
        for (double& t : seconds) {
            t = seconds_together(threads, [&](int thread) {
                const std::size_t i = (next + static_cast<std::size_t>(thread)) % slices;
                sink = static_cast<float>(
                    probe(reinterpret_cast<const Line*>(buffer.data() + i * slice), slice / sizeof(Line)));
            });
            next = (next + static_cast<std::size_t>(threads)) % slices;
        }
        bandwidth = std::max(bandwidth, static_cast<double>(slice) * threads / median(seconds));
    }
    return bandwidth;
}

std::size_t last_level_cache() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
    for (const int level : {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE}) {
        const long bytes = sysconf(level);
        if (bytes > 0) return static_cast<std::size_t>(bytes);
    }
#endif
    return std::size_t{32} << 20;
}

}  // namespace bench
