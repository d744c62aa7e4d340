// Storage of K and V: quantised, rotated, paged.
#include <attenta/core/finite.hpp>
#include <attenta/kv/cache.hpp>
#include <attenta/kv/pages.hpp>
#include <attenta/kv/row_codec.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "../kv_row.hpp"

ATTENTA_BEGIN

namespace rows {

namespace {

enum class QuantScheme : std::uint8_t { kivi, int8, bf16, f16 };
constexpr auto names_of(QuantScheme) { return std::to_array<std::string_view>({"kivi", "int8", "bf16", "f16"}); }
enum class ScaleType : std::uint8_t { f32, f16 };
constexpr auto names_of(ScaleType) { return std::to_array<std::string_view>({"f32", "f16"}); }

struct KvQuantOptions {
    QuantScheme scheme = QuantScheme::kivi;
    std::int64_t bits = 2, group = 32, residual = 128;
    ScaleType scale_dtype = ScaleType::f32;
    bool causal = true;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("scheme", o.scheme, "kivi, int8, bf16 or f16");
        visit("bits", o.bits, "of kivi's codes: 2, 4 or 8");
        visit("group", o.group, "tokens of keys and channels of values that share a scale in kivi");
        visit("residual", o.residual, "newest tokens that kivi keeps as floats, a multiple of group");
        visit("scale_dtype", o.scale_dtype, "of kivi's scales and zeros: f32 or f16");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct KvRotatedOptions {
    std::int64_t k_bits = 8, v_bits = 8;
    std::optional<bool> k_symmetric = {}, v_symmetric = {};
    std::optional<std::int64_t> k_group = {}, v_group = {}, k_block = {}, v_block = {};
    std::int64_t sink = 4, recent = 128;
    bool causal = true;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("k_bits", o.k_bits, "of a key's codes: 8 or 4");
        visit("v_bits", o.v_bits, "of a value's codes: 8 or 4");
        visit("k_symmetric", o.k_symmetric, "signed codes; default true for 8 bits");
        visit("v_symmetric", o.v_symmetric, "signed codes; default true for 8 bits");
        visit("k_group", o.k_group, "channels that share a scale, default all");
        visit("v_group", o.v_group, "channels that share a scale, default all");
        visit("k_block", o.k_block, "channels that are rotated together, default the largest power of two in D");
        visit("v_block", o.v_block, "channels that are rotated together, default the largest power of two in Dv");
        visit("sink", o.sink, "first tokens that stay floats");
        visit("recent", o.recent, "newest tokens that stay floats");
        visit("causal", o.causal, "query i sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

struct StoredInputs {
    Heads<const float> q, k, v;

    explicit StoredInputs(Arguments& args) : q(args.heads("q")), k(args.heads("k")), v(args.heads("v")) {
        if (k.heads != v.heads || k.tokens != v.tokens || k.dim != q.dim)
            args.refuse("k is [" + std::to_string(k.heads) + ", " + std::to_string(k.tokens) + ", " +
                        std::to_string(k.dim) + "] and v [" + std::to_string(v.heads) + ", " +
                        std::to_string(v.tokens) + ", " + std::to_string(v.dim) +
                        "], needs the same heads and tokens, and " + std::to_string(q.dim) + " features of k");
    }
};

/// The rows of K or V that are codes, in order of their positions.
class CodeRows {
public:
    CodeRows(const KvCache& cache, bool value) : dim_(value ? cache.options().dim_v : cache.options().dim) {
        for (const KvView& part : cache.views(0)) {
            const KvView::Rows& side = value ? part.v : part.k;
            if (side.dtype != Dtype::codes) continue;
            codes_ = side.codes;
            for (std::int64_t t = 0; t < part.tokens; ++t)
                rows_.push_back(static_cast<const std::byte*>(side.data) + t * side.token_stride);
            head_bytes_ = side.head_stride;
        }
    }
    /// [heads, rows, dim], and scales [heads, rows / block, groups] where a block of tokens shares them.
    void give(Arguments& args, const std::string& side, std::int64_t heads, std::int64_t block, bool zero) const {
        const std::int64_t n = std::ssize(rows_), numbers = block > 0 ? dim_ : codes_.groups(dim_),
                           step = std::max<std::int64_t>(block, 1);
        auto* code = args.output<std::int64_t>(side + "_code", {heads, n, dim_});
        std::vector<std::int64_t> shape{heads, n / step, numbers};
        if (flat_scales_) shape.pop_back();
        float* scale = args.output<float>(side + "_scale", shape);
        float* zeros = zero ? args.output<float>(side + "_zero", shape) : nullptr;
        for (std::int64_t h = 0; h < heads; ++h)
            for (std::int64_t t = 0; t < n; ++t) {
                const std::byte* const row = rows_[static_cast<std::size_t>(t)] + h * head_bytes_;
                for (std::int64_t c = 0; c < dim_; ++c) *code++ = detail::code_at(row, c, codes_);
                if (t % step != 0) continue;
                const detail::RowScales from = detail::scales_of(row, dim_, codes_);
                std::memcpy(scale, from.scales, static_cast<std::size_t>(numbers) * sizeof(float));
                scale += numbers;
                if (!zeros) continue;
                std::memcpy(zeros, from.offsets, static_cast<std::size_t>(numbers) * sizeof(float));
                zeros += numbers;
            }
    }
    /// Scales have no axis of groups.
    CodeRows& flat() {
        flat_scales_ = true;
        return *this;
    }

private:
    std::int64_t dim_, head_bytes_ = 0;
    RowCodes codes_;
    std::vector<const std::byte*> rows_;
    bool flat_scales_ = false;
};

KvCache filled(const StoredInputs& x, const KvStorage& storage) {
    KvCache cache({.kv_heads = x.k.heads,
                   .dim = x.k.dim,
                   .dim_v = x.v.dim,
                   .capacity = std::max<std::int64_t>(x.k.tokens, std::max(storage.recent, storage.sink)),
                   .storage = storage});
    cache.append(0, x.k, x.v);
    return cache;
}

void attend(const KvCache& cache, const StoredInputs& x, bool causal, std::optional<float> scale, Heads<float> o,
            Context& context) {
    cache.attend(0, x.q, o, {.scale = scale, .causal = causal}, nullptr, context);
}

void give_stored(Arguments& args, const KvCache& cache, const std::string& side, bool value, std::int64_t heads,
                 std::int64_t tokens, std::int64_t dim) {
    float* to = args.output<float>(side + "_stored", {heads, tokens, dim});
    for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t t = 0; t < tokens; ++t, to += dim)
            value ? cache.load_value(0, h, t, to) : cache.load_key(0, h, t, to);
}

void refuse_scale(const Arguments& args, std::optional<float> scale) {
    if (scale && !is_finite(*scale)) args.refuse("scale is " + std::to_string(*scale) + ", needs a finite number");
}

void kv_quant(Arguments& args, Context& context) {
    const StoredInputs x(args);
    const auto options = args.options<KvQuantOptions>();
    refuse_scale(args, options.scale);
    KvStorage storage = Dtype::f16;
    if (options.scheme == QuantScheme::bf16) storage = Dtype::bf16;
    if (options.scheme == QuantScheme::int8) storage = KvStorage::int8();
    if (options.scheme == QuantScheme::kivi) {
        if (options.group < 1) args.refuse("group is " + std::to_string(options.group) + ", needs at least 1");
        if (options.residual < 1 || options.residual % options.group != 0)
            args.refuse("residual is " + std::to_string(options.residual) + ", needs a multiple of the group of " +
                        std::to_string(options.group));
        storage = KvStorage::kivi(static_cast<int>(std::clamp<std::int64_t>(options.bits, 0, 99)), options.group,
                                  options.residual);
        storage.k.half_scales = storage.v.half_scales = options.scale_dtype == ScaleType::f16;
    }
    const KvCache cache = filled(x, storage);
    attend(cache, x, options.causal, options.scale, args.output("o", x.q.heads, x.q.tokens, x.v.dim), context);
    if (options.scheme == QuantScheme::kivi) {
        CodeRows(cache, false).give(args, "k", x.k.heads, options.group, true);
        CodeRows(cache, true).give(args, "v", x.k.heads, 0, true);
    } else if (options.scheme == QuantScheme::int8) {
        CodeRows(cache, false).flat().give(args, "k", x.k.heads, 0, false);
        CodeRows(cache, true).flat().give(args, "v", x.k.heads, 0, false);
    } else {
        give_stored(args, cache, "k", false, x.k.heads, x.k.tokens, x.k.dim);
        give_stored(args, cache, "v", true, x.k.heads, x.k.tokens, x.v.dim);
    }
}

KvFormat rotated_format(Arguments& args, const char* side, std::int64_t bits, std::optional<bool> symmetric,
                        std::optional<std::int64_t> group, std::optional<std::int64_t> block) {
    if (bits != 8 && bits != 4) args.refuse(std::string(side) + "_bits is " + std::to_string(bits) + ", needs 8 or 4");
    if (block && *block < 1)
        args.refuse(std::string(side) + "_block is " + std::to_string(*block) + ", needs a power of two");
    return KvFormat::codes(static_cast<int>(bits), symmetric.value_or(bits == 8), group, block.value_or(0));
}

void kv_rotated(Arguments& args, Context& context) {
    const StoredInputs x(args);
    const auto o = args.options<KvRotatedOptions>();
    for (const auto& [name, n] : {std::pair{"sink", o.sink}, {"recent", o.recent}})
        if (n < 0) args.refuse(std::string(name) + " is " + std::to_string(n) + ", needs at least 0");
    const KvStorage storage(rotated_format(args, "k", o.k_bits, o.k_symmetric, o.k_group, o.k_block),
                            rotated_format(args, "v", o.v_bits, o.v_symmetric, o.v_group, o.v_block),
                            std::min(o.sink, x.k.tokens), std::min(o.recent, x.k.tokens));
    const KvCache cache = filled(x, storage);
    attend(cache, x, o.causal, o.scale, args.output("o", x.q.heads, x.q.tokens, x.v.dim), context);
    CodeRows(cache, false).give(args, "k", x.k.heads, 0, !storage.k.signed_codes);
    CodeRows(cache, true).give(args, "v", x.k.heads, 0, !storage.v.signed_codes);
}

/// Integers that fit into int32; what is beyond becomes -1, which no table and no length can be.
std::vector<std::int32_t> narrowed(const std::int64_t* x, std::size_t n) {
    std::vector<std::int32_t> y(n);
    std::transform(x, x + n, y.begin(), [](std::int64_t i) {
        return i < 0 || i > std::numeric_limits<std::int32_t>::max() ? -1 : static_cast<std::int32_t>(i);
    });
    return y;
}

struct PagedOptions {
    bool causal = true;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("causal", o.causal, "query i of a sequence sees keys j <= i");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

void paged(Arguments& args, Context& context) {
    const auto q = args.array<float>("q", {any_size, any_size, any_size});
    const auto k = args.array<float>("k_pages", {any_size, any_size, any_size, q.shape[2]});
    const auto v = args.array<float>("v_pages", {k.shape[0], k.shape[1], k.shape[2], any_size});
    const auto q_len = args.vector<std::int64_t>("q_len");
    const auto sequences = static_cast<std::int64_t>(q_len.size());
    const auto table = args.array<std::int64_t>("block_table", {sequences, any_size});
    const auto seq_len = args.array<std::int64_t>("seq_len", {sequences});
    const auto options = args.options<PagedOptions>();
    for (std::size_t s = 0; s < q_len.size(); ++s)
        if (seq_len.data[s] < q_len[s] || q_len[s] < 0)
            args.refuse("seq_len[" + std::to_string(s) + "] is " + std::to_string(seq_len.data[s]) +
                        ", needs at least the " + std::to_string(q_len[s]) + " queries of the sequence");
    const auto lengths = narrowed(seq_len.data, q_len.size()), q_lengths = narrowed(q_len.data(), q_len.size());
    const auto pages = narrowed(table.data, q_len.size() * static_cast<std::size_t>(table.shape[1]));
    const std::int64_t N = q.shape[0], Hq = q.shape[1], page = k.shape[1], Hkv = k.shape[2], D = q.shape[2],
                       Dv = v.shape[3];
    const KvView kv = KvView::paged(nhd(k.data, page, Hkv, D), nhd(v.data, page, Hkv, Dv),
                                    {.pages = k.shape[0],
                                     .page_stride = page * Hkv * D,
                                     .v_page_stride = page * Hkv * Dv,
                                     .block_table = pages.data(),
                                     .table_stride = table.shape[1],
                                     .lengths = lengths.data(),
                                     .sequences = sequences});
    std::vector<float> lse(static_cast<std::size_t>(Hq * N));
    float* const o = args.output<float>("o", {N, Hq, Dv});
    float* const lse_out = args.output<float>("lse", {N, Hq});
    softmax_attention(nhd(q.data, N, Hq, D), q_lengths, kv, nhd(o, N, Hq, Dv),
                      {.scale = options.scale, .causal = options.causal}, lse.data(), context);
    for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t h = 0; h < Hq; ++h) lse_out[n * Hq + h] = lse[static_cast<std::size_t>(h * N + n)];
}

struct PagedOpsOptions {
    std::int64_t page_size = 16;
    std::vector<Operation> ops;
    std::optional<float> scale = {};

    static void fields(auto&& visit, auto& o) {
        visit("page_size", o.page_size, "tokens of a page");
        visit("ops", o.ops, "[\"append\", s, m], [\"fork\", s_new, s] or [\"free\", s], in order");
        visit("scale", o.scale, "factor of q·k, default 1/sqrt(D)");
    }
};

void paged_ops(Arguments& args, Context& context) {
    const auto q = args.array<float>("q", {any_size, any_size, any_size});
    const auto k = args.array<float>("k", {q.shape[0], any_size, q.shape[2]});
    const auto v = args.array<float>("v", {q.shape[0], k.shape[1], any_size});
    const auto options = args.options<PagedOpsOptions>();
    refuse_scale(args, options.scale);
    const std::int64_t n = q.shape[0], Hq = q.shape[1], Hkv = k.shape[1], D = q.shape[2], Dv = v.shape[2];
    std::int64_t appended = 0;
    for (const Operation& op : options.ops) {
        const std::size_t needed = op.name == "append" || op.name == "fork" ? 2 : op.name == "free" ? 1 : 0;
        if (needed == 0 || op.numbers.size() != needed)
            args.refuse("ops has " + op.name + " of " + std::to_string(op.numbers.size()) +
                        " numbers, needs append and fork of 2, or free of 1");
        if (op.name != "append") continue;
        if (op.numbers[1] < 1 || op.numbers[1] > n - appended)
            args.refuse("ops append " + std::to_string(op.numbers[1]) + " rows, needs 1 to the " +
                        std::to_string(n - appended) + " that are left");
        appended += op.numbers[1];
    }
    if (appended != n)
        args.refuse("ops append " + std::to_string(appended) + " rows, needs the " + std::to_string(n) + " of q");
    PagePool pool({.kv_heads = Hkv,
                   .dim = D,
                   .dim_v = Dv,
                   .page_size = options.page_size,
                   .pages = std::max<std::int64_t>(n, 1)});
    float* const o = args.output<float>("o", {n, Hq, Dv});
    auto* used = args.output<std::int64_t>("pages_used", {std::ssize(options.ops)});
    std::int64_t row = 0;
    for (const Operation& op : options.ops) {
        const std::int64_t sequence = op.numbers[0];
        if (op.name == "fork") pool.fork(sequence, op.numbers[1]);
        if (op.name == "free") pool.free(sequence);
        for (std::int64_t i = 0; op.name == "append" && i < op.numbers[1]; ++i, ++row) {
            pool.append(sequence, nhd(k.data + row * Hkv * D, 1, Hkv, D), nhd(v.data + row * Hkv * Dv, 1, Hkv, Dv));
            softmax_attention(nhd(q.data + row * Hq * D, 1, Hq, D), pool.view({&sequence, 1}),
                              nhd(o + row * Hq * Dv, 1, Hq, Dv), {.scale = options.scale}, nullptr, context);
        }
        *used++ = pool.pages_used();
    }
}

}  // namespace

std::vector<Mechanism> storage_rows() {
    const std::string_view layouts = "q [Hq, Tq, D], k [Hkv, Tk, D], v [Hkv, Tk, Dv]";
    return {
        {.name = "kv_quant",
         .family = "kv",
         .summary = "K and V in 8, 4 or 2 bits (KIVI, int8) or halves, read as they are stored",
         .source = "Liu et al. 2024, KIVI",
         .cost = "time Hq Tq Tk (D + Dv); bits · (D + Dv) per token and K/V head",
         .inputs = std::string(layouts),
         .outputs = "o [Hq, Tq, Dv], k_code, k_scale, k_zero, v_code, v_scale, v_zero or k_stored, v_stored",
         .parameters = parameters_of<KvQuantOptions>,
         .call = kv_quant},
        {.name = "kv_rotated",
         .family = "kv",
         .summary = "K and V turned by a Hadamard matrix, then in 8 or 4 bits; first and newest tokens exact",
         .source = "Ashkboos et al. 2024, QuaRot",
         .cost = "as kv_quant, and D log D per row stored and per query",
         .inputs = std::string(layouts),
         .outputs = "o [Hq, Tq, Dv], k_code, k_scale, k_zero, v_code, v_scale, v_zero",
         .parameters = parameters_of<KvRotatedOptions>,
         .call = kv_rotated},
        {.name = "paged",
         .family = "kv",
         .summary = "attention over sequences whose K and V lie in pages of a pool",
         .source = "Kwon et al. 2023, PagedAttention",
         .cost = "as softmax; one table entry per page",
         .inputs = "q [N, Hq, D], q_len [S] I64, k_pages [pages, page, Hkv, D], v_pages [pages, page, Hkv, Dv], "
                   "block_table [S, width] I64, seq_len [S] I64",
         .outputs = "o [N, Hq, Dv], lse [N, Hq]",
         .parameters = parameters_of<PagedOptions>,
         .call = paged},
        {.name = "paged_ops",
         .family = "kv",
         .summary = "sequences that append, fork and end in a pool of pages: sharing and copy-on-write",
         .source = "Kwon et al. 2023, PagedAttention, section 4",
         .cost = "a copy of one page where a shared one is written",
         .inputs = "q [n, Hq, D], k [n, Hkv, D], v [n, Hkv, Dv]",
         .outputs = "o [n, Hq, Dv], pages_used [ops] I64",
         .parameters = parameters_of<PagedOpsOptions>,
         .call = paged_ops},
    };
}

}  // namespace rows

ATTENTA_END
