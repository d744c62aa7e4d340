// The names of the benchmarks of sparse attention:
//
//   sparse/attenta/quest/decode/hnd/Hq:32/Hkv:8/D:128/Tk:131072/page:16,top:163/threads:1
//   sparse/<impl>/<mechanism>/<prefill|decode>/<layout>/Hq:/Hkv:/D:/Tk:[/Tq:][/full]/<setting>/threads:
//
// A prefill has as many queries as keys, or those of Tq:, a decode step one; `full` is not causal. Keys that heads choose for themselves lie head by head, hnd, those
// that all heads choose together token by token, nhd: a cache is laid out as it is read.
#pragma once

#include "bench/names.hpp"

#include <cstdint>
#include <string>

namespace bench {

struct SparseCase {
    std::string impl = "attenta", mechanism, setting;
    bool decode = false, causal = true;
    Layout layout = Layout::nhd;
    std::int64_t Hq = 0, Hkv = 0, D = 0, Tk = 0;
    std::int64_t Tq = 0;  ///< queries of a prefill that has fewer than keys
    int threads = 1;
};

inline std::string format_name(const SparseCase& c) {
    std::string s = "sparse/" + c.impl + '/' + c.mechanism + (c.decode ? "/decode/" : "/prefill/");
    s += layout_names[static_cast<std::size_t>(c.layout)];
    const auto add = [&](const char* key, std::int64_t value) {
        s += '/' + std::string(key) + ':' + std::to_string(value);
    };
    add("Hq", c.Hq);
    add("Hkv", c.Hkv);
    add("D", c.D);
    add("Tk", c.Tk);
    if (c.Tq > 0) add("Tq", c.Tq);
    if (!c.causal) s += "/full";
    if (!c.setting.empty()) s += '/' + c.setting;
    add("threads", c.threads);
    return s;
}

}  // namespace bench
