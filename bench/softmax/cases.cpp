#include "bench/softmax/cases.hpp"

#include "bench/softmax/implementations.hpp"

#include <initializer_list>
#include <thread>

namespace bench {
namespace {

using attenta::Dtype;

constexpr Dtype dtypes[] = {Dtype::f32, Dtype::bf16, Dtype::f16};
constexpr Layout layouts[] = {Layout::nhd, Layout::hnd, Layout::paged16};

/// f32, nhd, one thread.
AttendCase make(bool causal, std::int64_t Hq, std::int64_t Hkv, std::int64_t D, std::int64_t Tq, std::int64_t Tk) {
    return {.causal = causal, .Hq = Hq, .Hkv = Hkv, .D = D, .Dv = D, .Tq = Tq, .Tk = Tk};
}

AttendCase with_dtype(AttendCase c, Dtype dtype) {
    c.dtype = dtype;
    return c;
}

AttendCase with_layout(AttendCase c, Layout layout) {
    c.layout = layout;
    return c;
}

AttendCase with_threads(AttendCase c, int threads) {
    c.threads = threads;
    return c;
}

AttendCase kept_in_cache(AttendCase c) {
    c.warm = true;
    return c;
}

AttendCase with_values(AttendCase c, std::int64_t Dv) {
    c.Dv = Dv;
    return c;
}

const AttendCase prefill = make(true, 8, 2, 128, 4096, 4096);
const AttendCase prefill_64 = make(true, 8, 8, 64, 4096, 4096);
const AttendCase full_64 = make(false, 8, 8, 64, 2048, 2048);
const AttendCase full_128 = make(false, 8, 8, 128, 2048, 2048);
const AttendCase prompt = make(true, 8, 2, 128, 512, 512);
const AttendCase chunk = make(true, 8, 2, 128, 512, 32768);
const AttendCase decode = make(true, 32, 8, 128, 1, 32768);
const AttendCase decode_warm = kept_in_cache(make(true, 32, 8, 128, 1, 1024));

std::vector<AttendCase> own_cases() {
    std::vector<AttendCase> cases;
    for (const AttendCase& c : {prefill, prefill_64, full_64, decode})
        for (const Dtype dtype : dtypes)
            for (const Layout layout : layouts) cases.push_back(with_layout(with_dtype(c, dtype), layout));
    for (const std::int64_t D : {80, 96}) cases.push_back(make(true, 8, 2, D, 4096, 4096));
    for (const std::int64_t Tq : {2, 4, 8, 16}) cases.push_back(make(true, 32, 8, 128, Tq, 32768));
    for (const AttendCase& c : {full_128, with_values(prefill, 96), prompt, chunk}) cases.push_back(c);
    for (const Layout layout : {Layout::nhd, Layout::hnd})
        for (const Dtype dtype : {Dtype::f32, Dtype::f16})
            cases.push_back(with_layout(with_dtype(decode_warm, dtype), layout));
    if (std::thread::hardware_concurrency() >= 2)
        for (const AttendCase& c : {prefill, decode, with_dtype(decode, Dtype::f16)})
            cases.push_back(with_threads(c, 2));
    return cases;
}

/// Works for everybody who supports them, all among our own.
std::vector<AttendCase> compared_cases() {
    std::vector<AttendCase> cases = {prefill, prefill_64, full_64, full_128, prompt};
    for (const AttendCase& c : {decode, decode_warm})
        for (const Dtype dtype : {Dtype::f32, Dtype::f16})
            for (const Layout layout : {Layout::nhd, Layout::hnd})
                cases.push_back(with_layout(with_dtype(c, dtype), layout));
    for (const AttendCase& c : {prefill, prefill_64, full_64}) cases.push_back(with_dtype(c, Dtype::f16));
    return cases;
}

}  // namespace

std::vector<AttendCase> attend_cases() {
    std::vector<AttendCase> cases = own_cases();
    for (const Implementation& other : implementations())
        for (AttendCase c : compared_cases())
            if (other.name != c.impl && other.supports(c)) {
                c.impl = other.name;
                cases.push_back(c);
            }
    return cases;
}

std::vector<AttendCase> sweep_cases() {
    std::vector<AttendCase> cases;
    for (const std::int64_t D : {32, 64, 80, 96, 128, 192, 256})
        for (const std::int64_t Tq : {1, 2, 3, 4, 5, 8, 12, 16, 17, 24, 32, 64, 128, 256, 512})
            cases.push_back(make(true, 8, 2, D, Tq, 4096));
    return cases;
}

std::vector<AttendCase> phase_cases() {
    std::vector<AttendCase> cases = {prefill, prefill_64, full_64, prompt, chunk, decode_warm, decode};
    for (const Layout layout : {Layout::hnd, Layout::paged16}) cases.push_back(with_layout(decode, layout));
    for (const Dtype dtype : {Dtype::bf16, Dtype::f16}) cases.push_back(with_dtype(decode, dtype));
    for (const std::int64_t Tq : {2, 4, 8, 16}) cases.push_back(make(true, 32, 8, 128, Tq, 32768));
    return cases;
}

}  // namespace bench
