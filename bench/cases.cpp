#include "bench/cases.hpp"

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

AttendCase by_naive_eigen(AttendCase c) {
    c.impl = "naive_eigen";
    return c;
}

}  // namespace

std::vector<AttendCase> attend_cases() {
    const AttendCase prefill = make(true, 8, 2, 128, 4096, 4096);
    const AttendCase prefill_64 = make(true, 8, 8, 64, 4096, 4096);
    const AttendCase full_64 = make(false, 8, 8, 64, 2048, 2048);
    const AttendCase full_128 = make(false, 8, 8, 128, 2048, 2048);
    const AttendCase prompt = make(true, 8, 2, 128, 512, 512);
    const AttendCase chunk = make(true, 8, 2, 128, 512, 32768);
    const AttendCase decode = make(true, 32, 8, 128, 1, 32768);
    AttendCase decode_warm = make(true, 32, 8, 128, 1, 1024);
    decode_warm.warm = true;
    AttendCase narrow_values = prefill;
    narrow_values.Dv = 96;

    std::vector<AttendCase> cases;
    for (const AttendCase& c : {prefill, prefill_64, full_64, decode})
        for (const Dtype dtype : dtypes)
            for (const Layout layout : layouts) cases.push_back(with_layout(with_dtype(c, dtype), layout));
    for (const std::int64_t D : {80, 96}) cases.push_back(make(true, 8, 2, D, 4096, 4096));
    for (const std::int64_t Tq : {2, 4, 8, 16}) cases.push_back(make(true, 32, 8, 128, Tq, 32768));
    for (const AttendCase& c :
         {full_128, narrow_values, prompt, chunk, decode_warm, with_dtype(decode_warm, Dtype::f16)})
        cases.push_back(c);
    if (std::thread::hardware_concurrency() >= 2)
        for (const AttendCase& c : {prefill, decode, with_dtype(decode, Dtype::f16)})
            cases.push_back(with_threads(c, 2));
    for (const AttendCase& c :
         {prefill, prefill_64, full_64, full_128, prompt, decode, with_layout(decode, Layout::hnd), decode_warm})
        cases.push_back(by_naive_eigen(c));
    return cases;
}

}  // namespace bench
