// A DeepSeek-shaped layer decodes from a paged cache of latents: both forms of latent attention, what they take and how far
// they are from the definition in double.
//
//     mla_decode [--context 4096] [--heads 128] [--threads 1]
#include <attenta/attenta.hpp>
#include <attenta/latent.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

using attenta::bfloat16, attenta::hnd, attenta::KvView, attenta::LatentForm;

namespace {

constexpr std::int64_t latent = 512, rope = 64, nope = 128, value = 128, page = 64;

std::vector<float> random_values(std::int64_t n, float gain, std::mt19937& random) {
    std::normal_distribution<float> normal(0, gain);
    std::vector<float> x(static_cast<std::size_t>(n));
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    return x;
}

/// Pages of rows [latent, rotary key] in bfloat16, in any order.
struct PagedLatents {
    std::vector<bfloat16> rows;
    std::vector<std::int32_t> table, lengths;

    PagedLatents(std::int64_t tokens, std::mt19937& random)
        : table(static_cast<std::size_t>((tokens + page - 1) / page)), lengths{static_cast<std::int32_t>(tokens)} {
        for (const float x : random_values(static_cast<std::int64_t>(table.size()) * page * (latent + rope), 1, random))
            rows.push_back(static_cast<bfloat16>(x));
        std::iota(table.begin(), table.end(), 0);
        std::shuffle(table.begin(), table.end(), random);
    }
    const bfloat16* row(std::int64_t token) const {
        return rows.data() + (table[static_cast<std::size_t>(token / page)] * page + token % page) * (latent + rope);
    }
    /// Values are the latents, keys the rotary keys behind them; `tied` says that a key begins with its latent.
    KvView view() const {
        const attenta::Strides strides{.token_stride = latent + rope};
        const auto pages = static_cast<std::int64_t>(table.size());
        KvView kv =
            KvView::paged(hnd(rows.data() + latent, 1, page, rope, strides), hnd(rows.data(), 1, page, latent, strides),
                          page * (latent + rope), pages, table.data(), pages, lengths.data());
        kv.tied = latent;
        return kv;
    }
};

/// Head h of the definition: keys and values of each token written out, in double.
std::vector<double> definition(const attenta::MlaInputs& x, const PagedLatents& cache, std::int64_t h,
                               std::int64_t tokens) {
    std::vector<double> absorbed(latent), scores, mean(latent), o(value);
    for (std::int64_t d = 0; d < nope; ++d)
        for (std::int64_t r = 0; r < latent; ++r)
            absorbed[static_cast<std::size_t>(r)] += double{x.q_nope.row(h, 0)[d]} * double{x.w_uk.row(h, d)[r]};
    for (std::int64_t j = 0; j < tokens; ++j) {
        const bfloat16* const row = cache.row(j);
        double s = 0;
        for (std::int64_t r = 0; r < latent; ++r)
            s += absorbed[static_cast<std::size_t>(r)] * double{static_cast<float>(row[r])};
        for (std::int64_t r = 0; r < rope; ++r)
            s += double{x.q_pe.row(h, 0)[r]} * double{static_cast<float>(row[latent + r])};
        scores.push_back(s / std::sqrt(double{nope + rope}));
    }
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& s : scores) sum += s = std::exp(s - most);
    for (std::int64_t j = 0; j < tokens; ++j)
        for (std::int64_t r = 0; r < latent; ++r)
            mean[static_cast<std::size_t>(r)] +=
                scores[static_cast<std::size_t>(j)] / sum * double{static_cast<float>(cache.row(j)[r])};
    for (std::int64_t e = 0; e < value; ++e)
        for (std::int64_t r = 0; r < latent; ++r)
            o[static_cast<std::size_t>(e)] += double{x.w_uv.row(h, e)[r]} * mean[static_cast<std::size_t>(r)];
    return o;
}

double milliseconds(const auto& run) {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 3; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        run();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best * 1e3;
}

}  // namespace

int main(int argc, char** argv) {
    std::int64_t tokens = 4096, heads = 128;
    int threads = 1;
    CLI::App app("A DeepSeek-shaped layer decodes from a paged cache of latents, absorbed and expanded.");
    app.add_option("--context", tokens, "tokens in the cache")->check(CLI::Range(1, 1 << 20));
    app.add_option("--heads", heads, "query heads")->check(CLI::Range(1, 256));
    app.add_option("--threads", threads, "threads")->check(CLI::Range(1, 256));
    CLI11_PARSE(app, argc, argv);

    std::mt19937 random(1);
    const PagedLatents cache(tokens, random);
    const float gain = 1 / std::sqrt(static_cast<float>(latent));
    const auto q_nope = random_values(heads * nope, 1, random), q_pe = random_values(heads * rope, 1, random),
               w_uk = random_values(heads * nope * latent, gain, random),
               w_uv = random_values(heads * value * latent, gain, random);
    const attenta::MlaInputs x{hnd(q_nope.data(), heads, 1, nope), hnd(q_pe.data(), heads, 1, rope), cache.view(),
                               hnd(w_uk.data(), heads, nope, latent), hnd(w_uv.data(), heads, value, latent)};
    attenta::ThreadPool pool(threads);
    attenta::Context context(pool);

    std::printf(
        "%lld heads, %lld tokens: %lld + %lld numbers a token in bfloat16, %.1f MB; keys and values of all heads "
        "would be %.1f MB in float\n\n",
        static_cast<long long>(heads), static_cast<long long>(tokens), static_cast<long long>(latent),
        static_cast<long long>(rope), static_cast<double>(tokens * (latent + rope) * 2) * 1e-6,
        static_cast<double>(tokens * heads * (nope + rope + value) * 4) * 1e-6);
    std::printf("%-10s %12s %14s %14s\n", "form", "step, ms", "GFLOP", "largest error");
    bool good = true;
    for (const LatentForm form : {LatentForm::absorbed, LatentForm::expanded}) {
        attenta::MlaOptions options;
        options.form = form;
        std::vector<float> o(static_cast<std::size_t>(heads * value));
        const double ms = milliseconds([&] {
            attenta::mla(x, {hnd(o.data(), heads, 1, value), nullptr}, options, context);
        });
        double worst = 0;
        for (std::int64_t h = 0; h < heads; h += std::max<std::int64_t>(heads / 4, 1)) {
            const auto want = definition(x, cache, h, tokens);
            for (std::int64_t e = 0; e < value; ++e)
                worst = std::max(worst, std::abs(double{o[static_cast<std::size_t>(h * value + e)]} -
                                                 want[static_cast<std::size_t>(e)]));
        }
        const std::int64_t pair = form == LatentForm::absorbed ? 2 * latent + rope : nope + rope + value,
                           once = latent * (nope + value) * (form == LatentForm::absorbed ? 1 : tokens);
        std::printf("%-10s %12.2f %14.2f %14.1e\n", std::string(names_of(form)[static_cast<std::size_t>(form)]).c_str(),
                    ms, static_cast<double>(2 * heads * (tokens * pair + once)) * 1e-9, worst);
        good = good && worst < 1e-4;
    }
    return good ? 0 : 1;
}
