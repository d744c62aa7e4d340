// Which backend runs: what is compiled in, what the processor has, what the user asked for.
#include <attenta/core/error.hpp>
#include <attenta/core/isa.hpp>
#include <attenta/engine/kernel.hpp>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

ATTENTA_BEGIN

namespace {

bool processor_has(Isa isa) {
#if defined(__x86_64__) || defined(__i386__)
    // The compiler's run-time library also asks the operating system whether it saves the registers.
    __builtin_cpu_init();
    switch (isa) {
        case Isa::sse2:
            return true;
        case Isa::avx2: {
            unsigned a = 0, b = 0, c = 0, d = 0;
            const bool f16c = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
            return f16c && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        }
        case Isa::avx512:
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
        default:
            return false;
    }
#else
    return isa == Isa::neon64;
#endif
}

Isa best() {
    for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::sse2, Isa::neon64})
        if (is_available(isa)) return isa;
    fail("active_isa", "no backend of this build runs on this processor");
}

Isa first_choice() {
    const char* wanted = std::getenv("ATTENTA_ISA");
    if (!wanted || !*wanted) return best();
    const std::optional<Isa> isa = isa_named(wanted);
    if (!isa)
        fail("active_isa", "ATTENTA_ISA is '" + std::string(wanted) + "', must be one of sse2, avx2, avx512, neon64");
    if (!is_available(*isa))
        fail("active_isa", "ATTENTA_ISA is '" + std::string(wanted) + "', which is not available here");
    return *isa;
}

constexpr int undecided = -1;
std::atomic<int> chosen{undecided};

}  // namespace

bool is_compiled(Isa isa) {
#define ATTENTA_IS_COMPILED(Type, name, compiled) \
    if (isa == Isa::compiled) return true;
    ATTENTA_FOR_EACH_ISA(ATTENTA_IS_COMPILED, , )
    return false;
}
bool is_available(Isa isa) { return is_compiled(isa) && processor_has(isa); }

Isa active_isa() {
    int isa = chosen.load(std::memory_order_relaxed);
    if (isa == undecided) {
        isa = static_cast<int>(first_choice());
        chosen.store(isa, std::memory_order_relaxed);
    }
    return static_cast<Isa>(isa);
}

void set_isa(Isa isa) {
    if (!is_available(isa)) fail("set_isa", std::string(name(isa)) + " is not available here");
    chosen.store(static_cast<int>(isa), std::memory_order_relaxed);
}

std::string_view processor_name() {
#if defined(__x86_64__) || defined(__i386__)
    static const std::array<char, 49> text = [] {
        std::array<char, 49> t{};
        for (unsigned leaf = 0; leaf < 3; ++leaf) {
            std::array<unsigned, 4> r{};
            if (!__get_cpuid(0x80000002u + leaf, &r[0], &r[1], &r[2], &r[3])) return std::array<char, 49>{};
            std::memcpy(t.data() + 16 * leaf, r.data(), 16);
        }
        return t;
    }();
    const std::string_view s(text.data());
    const auto begin = s.find_first_not_of(' '), end = s.find_last_not_of(' ');
    return begin == std::string_view::npos ? std::string_view{} : s.substr(begin, end - begin + 1);
#else
    return {};
#endif
}

ATTENTA_END
