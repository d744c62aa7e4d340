#include "bench/softmax/problem.hpp"

#include "bench/ruler/memory.hpp"
#include "bench/ruler/roofline.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace bench {
namespace {

using attenta::Dtype;

constexpr std::int64_t page = 16;

/// One block for all problems, so that its pages are mapped once.
std::byte* arena(std::size_t bytes) {
    static HugeBuffer buffer;
    if (buffer.size() < bytes) {
        buffer = {};
        buffer = HugeBuffer(bytes);
    }
    return buffer.data();
}

/// The next n standard normal values of a long period.
class Normals {
public:
    Normals() : values_((std::size_t{1} << 20) - 3) {
        std::mt19937 random(1);
        std::normal_distribution<float> normal;
        for (float& x : values_) x = normal(random);
    }
    template <class T>
    void fill(std::byte* out, std::int64_t n) {
        T* x = reinterpret_cast<T*>(out);
        for (std::int64_t i = 0; i < n; ++i) {
            x[i] = T(values_[next_]);
            if (++next_ == values_.size()) next_ = 0;
        }
    }
    void fill(std::byte* out, std::int64_t n, Dtype dtype) {
        if (dtype == Dtype::f32) fill<float>(out, n);
        if (dtype == Dtype::bf16) fill<attenta::bfloat16>(out, n);
        if (dtype == Dtype::f16) fill<attenta::float16>(out, n);
    }

private:
    std::vector<float> values_;
    std::size_t next_ = 0;
};

std::size_t whole_pages(std::int64_t bytes) { return (static_cast<std::size_t>(bytes) + 4095) / 4096 * 4096; }

std::size_t copies_needed(const AttendCase& c, std::size_t kv_bytes, std::size_t copy_bytes) {
    constexpr std::size_t limit = std::size_t{2} << 30;
    if (c.warm) return 1;
    return std::max<std::size_t>(1, std::min(4 * last_level_cache() / kv_bytes + 1, limit / copy_bytes));
}

template <class T>
attenta::Heads<T> heads(std::byte* data, const AttendCase& c, std::int64_t dim) {
    T* x = reinterpret_cast<T*>(data);
    return c.layout == Layout::hnd ? attenta::hnd(x, c.Hq, c.Tq, dim) : attenta::nhd(x, c.Tq, c.Hq, dim);
}

}  // namespace

Problem::Problem(const AttendCase& c) : case_(c), tokens_((c.Tk + page - 1) / page * page) {
    if (c.layout != Layout::paged16) tokens_ = c.Tk;
    const std::int64_t element = attenta::size_of(c.dtype);
    v_at_ = whole_pages(c.Hkv * tokens_ * c.D * element);
    q_at_ = v_at_ + whole_pages(c.Hkv * tokens_ * c.Dv * element);
    o_at_ = q_at_ + whole_pages(c.Hq * c.Tq * c.D * 4);
    copy_bytes_ = o_at_ + whole_pages(c.Hq * c.Tq * c.Dv * 4);
    copies_ = copies_needed(c, q_at_, copy_bytes_);
    data_ = arena(copies_ * copy_bytes_);
    fill();
    if (c.layout == Layout::paged16) {
        block_table_.resize(static_cast<std::size_t>(tokens_ / page));
        std::iota(block_table_.begin(), block_table_.end(), 0);
        std::shuffle(block_table_.begin(), block_table_.end(), std::mt19937(2));
        lengths_ = {static_cast<std::int32_t>(c.Tk)};
    }
}

void Problem::fill() {
    static Normals normals;
    normals.fill(data_, case_.Hkv * tokens_ * case_.D, case_.dtype);
    normals.fill(data_ + v_at_, case_.Hkv * tokens_ * case_.Dv, case_.dtype);
    normals.fill(data_ + q_at_, case_.Hq * case_.Tq * case_.D, Dtype::f32);
    std::memset(data_ + o_at_, 0, copy_bytes_ - o_at_);
    for (std::size_t copy = 1; copy < copies_; ++copy) std::memcpy(data_ + copy * copy_bytes_, data_, copy_bytes_);
}

attenta::Heads<const float> Problem::q(std::size_t copy) const {
    return heads<const float>(data_ + copy * copy_bytes_ + q_at_, case_, case_.D);
}

attenta::Heads<float> Problem::o(std::size_t copy) const {
    return heads<float>(data_ + copy * copy_bytes_ + o_at_, case_, case_.Dv);
}

attenta::KvView::Rows Problem::side(const std::byte* data, std::int64_t dim) const {
    const bool hnd = case_.layout == Layout::hnd, paged = case_.layout == Layout::paged16;
    return {.data = data,
            .dtype = case_.dtype,
            .dim = dim,
            .head_stride = hnd ? tokens_ * dim : dim,
            .token_stride = hnd ? dim : case_.Hkv * dim,
            .page_stride = paged ? page * case_.Hkv * dim : 0};
}

attenta::KvView Problem::kv(std::size_t copy) const {
    attenta::KvView view;
    view.k = side(data_ + copy * copy_bytes_, case_.D);
    view.v = side(data_ + copy * copy_bytes_ + v_at_, case_.Dv);
    view.heads = case_.Hkv;
    view.tokens = case_.Tk;
    if (case_.layout == Layout::paged16) {
        view.tokens = 0;
        view.lengths = lengths_.data();
        view.page_size = page;
        view.pages = view.table_stride = tokens_ / page;
        view.block_table = block_table_.data();
    }
    return view;
}

double Problem::flops() const {
    const AttendCase& c = case_;
    const std::int64_t pairs = c.causal ? c.Tq * (c.Tk - c.Tq) + c.Tq * (c.Tq + 1) / 2 : c.Tq * c.Tk;
    return 2.0 * static_cast<double>((c.D + c.Dv) * pairs * c.Hq);
}

double Problem::bytes() const {
    const AttendCase& c = case_;
    return static_cast<double>((c.D + c.Dv) * (c.Hkv * c.Tk * attenta::size_of(c.dtype) + c.Hq * c.Tq * 4));
}

}  // namespace bench
