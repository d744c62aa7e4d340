// Every instruction set of this machine, with one thread and with two.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/isa.hpp>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace attenta_test {

inline std::vector<attenta::Isa> available_isas() {
    std::vector<attenta::Isa> isas;
    for (int i = 0; i < attenta::isa_count; ++i)
        if (const auto isa = static_cast<attenta::Isa>(i); attenta::is_available(isa)) isas.push_back(isa);
    return isas;
}

class IsaScope {
public:
    explicit IsaScope(attenta::Isa isa) : before_(attenta::active_isa()) { attenta::set_isa(isa); }
    ~IsaScope() { attenta::set_isa(before_); }
    IsaScope(const IsaScope&) = delete;
    IsaScope& operator=(const IsaScope&) = delete;

private:
    attenta::Isa before_;
};

/// fn(context)
template <class F>
void on_every_isa(F&& fn) {
    for (const attenta::Isa isa : available_isas()) {
        const IsaScope scope(isa);
        for (const int threads : {1, 2}) {
            SCOPED_TRACE(std::string(name(isa)) + ", threads " + std::to_string(threads));
            attenta::ThreadPool pool(threads);
            attenta::Context context(pool);
            fn(context);
        }
    }
}

}  // namespace attenta_test
