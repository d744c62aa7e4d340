// An eviction policy as tests see it: how it is made, and its definition in double over a cache that remembers every
// weight. Each policy's test file registers one, and the suites of the family run for all.
#pragma once

#include <attenta/kv/eviction/evictor.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "support/random.hpp"

namespace attenta_test {

struct EvictionSizes {
    std::int64_t T, prompt, Hq, Hkv, D, Dv;
};
inline std::ostream& operator<<(std::ostream& out, const EvictionSizes& s) {
    return out << "T " << s.T << " prompt " << s.prompt << " Hq " << s.Hq << " Hkv " << s.Hkv << " D " << s.D << " Dv "
               << s.Dv;
}

/// q [T, Hq, D], k [T, Hkv, D], v [T, Hkv, Dv]; some keys are looked at more than others.
struct EvictionCase {
    EvictionSizes sizes;
    std::vector<float> q, k, v;
    std::uint64_t seed;

    EvictionCase(const EvictionSizes& s, std::uint64_t its_seed) : sizes(s), seed(its_seed) {
        Random random(seed);
        const std::vector<float> lean = random.normals(s.Hkv * s.D);
        q = random.normals(s.T * s.Hq * s.D);
        k = random.normals(s.T * s.Hkv * s.D);
        v = random.normals(s.T * s.Hkv * s.Dv);
        const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
        for (std::int64_t t = 0; t < s.T; ++t)
            for (std::int64_t g = 0; g < s.Hkv; ++g) {
                const float heavy = random.chance(0.15) ? 0.9f : 0.f, gain = std::exp(0.4f * random.normal());
                for (std::int64_t c = 0; c < s.D; ++c)
                    k[at((t * s.Hkv + g) * s.D + c)] += heavy * lean[at(g * s.D + c)];
                for (std::int64_t c = 0; c < s.Dv; ++c) v[at((t * s.Hkv + g) * s.Dv + c)] *= gain;
                for (std::int64_t h = g * s.Hq / s.Hkv; h < (g + 1) * s.Hq / s.Hkv; ++h)
                    for (std::int64_t c = 0; c < s.D; ++c)
                        q[at((t * s.Hq + h) * s.D + c)] += 0.7f * lean[at(g * s.D + c)];
            }
    }
    attenta::Heads<const float> queries() const { return attenta::nhd(q.data(), sizes.T, sizes.Hq, sizes.D); }
    attenta::Heads<const float> keys() const { return attenta::nhd(k.data(), sizes.T, sizes.Hkv, sizes.D); }
    attenta::Heads<const float> values() const { return attenta::nhd(v.data(), sizes.T, sizes.Hkv, sizes.Dv); }
};

using Positions = std::vector<std::int64_t>;

/// Everything that a policy could want to know, in double precision.
struct NaiveCache {
    explicit NaiveCache(const EvictionCase& its_case) : x(its_case), k(its_case.k), v(its_case.v) {}

    const EvictionCase& x;
    mutable std::vector<float> k, v;  ///< as they are held: a policy that merges tokens changes them
    std::int64_t seen = 0;
    std::vector<Positions> kept;                      ///< [Hkv] sorted
    std::vector<std::vector<std::vector<double>>> A;  ///< [Hq][query][key], 0 where it was not attended to
    std::vector<std::vector<std::int64_t>> count;     ///< [Hq][query] keys that it attended to
    mutable double gap = 1;  ///< how clear the closest decision was: below 1 floats may decide otherwise

    std::int64_t group() const { return x.sizes.Hq / x.sizes.Hkv; }
    std::int64_t prompt() const { return x.sizes.prompt; }
    double a(std::int64_t h, std::int64_t i, std::int64_t j) const { return A.at(u(h)).at(u(i)).at(u(j)); }
    float* key(std::int64_t j, std::int64_t g) const { return k.data() + (j * x.sizes.Hkv + g) * x.sizes.D; }
    float* value(std::int64_t j, std::int64_t g) const { return v.data() + (j * x.sizes.Hkv + g) * x.sizes.Dv; }
    static std::size_t u(std::int64_t i) { return static_cast<std::size_t>(i); }

    /// Weights of query i of head h over positions, and if asked its output.
    std::vector<double> attend(std::int64_t i, std::int64_t h, const Positions& over, double* o = nullptr) const {
        const std::int64_t g = h / group(), D = x.sizes.D;
        std::vector<double> s;
        for (const std::int64_t j : over) {
            double sum = 0;
            for (std::int64_t c = 0; c < D; ++c) sum += double{x.queries().row(h, i)[c]} * double{key(j, g)[c]};
            s.push_back(sum / std::sqrt(static_cast<double>(D)));
        }
        const double most = *std::max_element(s.begin(), s.end());
        double all = 0;
        for (double& e : s) all += e = std::exp(e - most);
        for (double& e : s) e /= all;
        for (std::size_t n = 0; o && n < over.size(); ++n)
            for (std::int64_t c = 0; c < x.sizes.Dv; ++c) o[c] += s[n] * double{value(over[n], g)[c]};
        return s;
    }
    /// Weights of the last w queries over what head h's K/V head holds now, computed again: [w][kept], 0 for newer tokens.
    std::vector<std::vector<double>> window(std::int64_t h, std::int64_t w) const {
        const Positions& all = kept[u(h / group())];
        std::vector<std::vector<double>> rows;
        for (std::int64_t i = seen - w; i < seen; ++i) {
            Positions over;
            std::copy_if(all.begin(), all.end(), std::back_inserter(over), [&](std::int64_t j) { return j <= i; });
            std::vector<double> row = over.empty() ? std::vector<double>{} : attend(i, h, over);
            row.resize(all.size());
            rows.push_back(row);
        }
        return rows;
    }
    /// f over the query heads of K/V head g.
    template <class F>
    double by_group(std::int64_t g, attenta::GroupScore how, F&& f) const {
        double sum = 0, most = f(g * group());
        for (std::int64_t h = g * group(); h < (g + 1) * group(); ++h) {
            sum += f(h);
            most = std::max(most, f(h));
        }
        return how == attenta::GroupScore::max   ? most
               : how == attenta::GroupScore::sum ? sum
                                                 : sum / static_cast<double>(group());
    }
    /// Two numbers are compared: how far apart they are, in what floats can tell. Equal ones are true ties.
    void note(double p, double q, double absolute = 1e-5) const {
        if (p == q || std::isinf(p) || std::isinf(q)) return;
        const double d = std::abs(p - q), size = std::max(std::abs(p), std::abs(q));
        if (size < 1e-30) gap = 0;
        gap = std::min(gap, std::max(std::min(d / absolute, d / (1e-5 * size)), d / (1e-3 * size)));
    }
    /// The n of `positions` with the highest scores, sorted; of equal scores the later position.
    Positions top(const std::vector<double>& scores, const Positions& positions, std::int64_t n) const {
        std::vector<std::size_t> order(positions.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](std::size_t p, std::size_t q) {
            return scores[p] != scores[q] ? scores[p] > scores[q] : positions[p] > positions[q];
        });
        const std::size_t chosen = u(std::clamp<std::int64_t>(n, 0, std::ssize(positions)));
        if (chosen > 0 && chosen < order.size()) note(scores[order[chosen - 1]], scores[order[chosen]]);
        Positions best;
        for (std::size_t i = 0; i < chosen; ++i) best.push_back(positions[order[i]]);
        std::sort(best.begin(), best.end());
        return best;
    }
    /// `first` and what follows, sorted.
    static Positions together(Positions first, const Positions& more) {
        first.insert(first.end(), more.begin(), more.end());
        std::sort(first.begin(), first.end());
        return first;
    }
    /// Held tokens of a head but the newest n, and these.
    std::pair<Positions, Positions> without_recent(std::int64_t g, std::int64_t n) const {
        const Positions& all = kept[u(g)];
        const auto cut = all.begin() + std::max<std::int64_t>(0, std::ssize(all) - std::max<std::int64_t>(n, 0));
        return {{all.begin(), cut}, {cut, all.end()}};
    }
};

/// What heads hold after the prompt (seen == prompt) and after each token.
using NaiveKeep = std::function<std::vector<Positions>(const NaiveCache&)>;

struct EvictionResult {
    std::vector<double> o;  ///< [T - prompt, Hq, Dv]
    std::vector<Positions> kept;
    double gap = 1;
};

inline EvictionResult naive_eviction(const EvictionCase& x, const NaiveKeep& keep) {
    const EvictionSizes& s = x.sizes;
    NaiveCache c(x);
    const auto u = NaiveCache::u;
    c.A.assign(u(s.Hq), std::vector<std::vector<double>>(u(s.T), std::vector<double>(u(s.T))));
    c.count.assign(u(s.Hq), std::vector<std::int64_t>(u(s.T)));
    c.kept.assign(u(s.Hkv), {});
    EvictionResult r;
    r.o.assign(u((s.T - s.prompt) * s.Hq * s.Dv), 0.0);
    const auto attend = [&](std::int64_t i, std::int64_t h, const Positions& over, double* o) {
        const std::vector<double> weights = c.attend(i, h, over, o);
        for (std::size_t n = 0; n < over.size(); ++n) c.A[u(h)][u(i)][u(over[n])] = weights[n];
        c.count[u(h)][u(i)] = std::ssize(over);
    };
    for (std::int64_t i = 0; i < s.prompt; ++i) {
        Positions over(u(i + 1));
        std::iota(over.begin(), over.end(), std::int64_t{0});
        for (std::int64_t h = 0; h < s.Hq; ++h) attend(i, h, over, nullptr);
        for (Positions& held : c.kept) held = over;
    }
    c.seen = s.prompt;
    c.kept = keep(c);
    for (std::int64_t i = s.prompt; i < s.T; ++i) {
        for (std::int64_t g = 0; g < s.Hkv; ++g) {
            c.kept[u(g)].push_back(i);
            for (std::int64_t h = g * c.group(); h < (g + 1) * c.group(); ++h)
                attend(i, h, c.kept[u(g)], r.o.data() + ((i - s.prompt) * s.Hq + h) * s.Dv);
        }
        c.seen = i + 1;
        c.kept = keep(c);
    }
    r.kept = c.kept;
    r.gap = c.gap;
    return r;
}

/// A policy with some options, and its definition with the same.
struct PolicyVariant {
    std::string name;
    std::function<std::unique_ptr<attenta::EvictionPolicy>(const EvictionCase&)> make;
    std::function<NaiveKeep(const EvictionCase&)> definition;
};

struct TestedPolicy {
    std::string name;
    std::vector<PolicyVariant> variants;
    bool even_dim = false;  ///< D needs to be even
};

inline void PrintTo(const TestedPolicy* p, std::ostream* out) { *out << p->name; }

inline std::deque<TestedPolicy>& tested_policies() {
    static std::deque<TestedPolicy> all;
    return all;
}

/// definition(const NaiveCache&, const Options&) -> kept positions. A variant is options with a name.
template <class Policy, auto definition>
const TestedPolicy& test_policy(std::string name,
                                std::vector<std::pair<std::string, typename Policy::Options>> variants) {
    TestedPolicy p{std::move(name), {}, false};
    for (const auto& [words, options] : variants)
        p.variants.push_back({words,
                              [options = options](const EvictionCase&) { return std::make_unique<Policy>(options); },
                              [options = options](const EvictionCase&) -> NaiveKeep {
                                  return [options](const NaiveCache& c) { return definition(c, options); };
                              }});
    return tested_policies().emplace_back(std::move(p));
}

/// The policies's own run.
inline EvictionResult run_policy(const EvictionCase& x, attenta::EvictionPolicy& policy, attenta::Context& context,
                                 const attenta::KvStorage& storage = attenta::Dtype::f32) {
    const EvictionSizes& s = x.sizes;
    attenta::KvCache cache({.kv_heads = s.Hkv, .dim = s.D, .dim_v = s.Dv, .capacity = s.T, .storage = storage});
    attenta::Evictor evictor(cache, policy, {.query_heads = s.Hq});
    std::vector<float> o(static_cast<std::size_t>(s.Hq * s.Dv));
    EvictionResult r;
    evictor.prompt(x.queries().slice(0, s.prompt), x.keys().slice(0, s.prompt), x.values().slice(0, s.prompt), {},
                   context);
    for (std::int64_t i = s.prompt; i < s.T; ++i) {
        evictor.step(x.queries().slice(i, 1), x.keys().slice(i, 1), x.values().slice(i, 1),
                     attenta::nhd(o.data(), 1, s.Hq, s.Dv), context);
        r.o.insert(r.o.end(), o.begin(), o.end());
    }
    for (std::int64_t g = 0; g < s.Hkv; ++g) {
        const std::vector<std::int32_t> kept = evictor.kept(g);
        r.kept.emplace_back(kept.begin(), kept.end());
    }
    return r;
}

}  // namespace attenta_test
