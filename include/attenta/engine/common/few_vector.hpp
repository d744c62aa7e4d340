// A vector for the short lists of a call.
#pragma once

#include <attenta/core/config.hpp>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <type_traits>
#include <vector>

ATTENTA_BEGIN

/// Its first `few` elements need no memory of their own, because a steady call must not allocate.
template <class T, std::size_t few>
class FewVector {
    static_assert(std::is_trivially_copyable_v<T>);

public:
    FewVector() = default;
    FewVector(std::initializer_list<T> x) { append(x); }

    void push_back(const T& x) {
        if (size_ == few) many_.assign(few_.begin(), few_.end());
        if (size_ < few)
            few_[size_] = x;
        else
            many_.push_back(x);
        ++size_;
    }
    void append(const auto& range) {
        for (const T& x : range) push_back(x);
    }
    void clear() {
        many_.clear();
        size_ = 0;
    }

    const T* data() const { return size_ <= few ? few_.data() : many_.data(); }
    const T* begin() const { return data(); }
    const T* end() const { return data() + size_; }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

private:
    std::array<T, few> few_;
    std::vector<T> many_;  ///< all of them, where they are more
    std::size_t size_ = 0;
};

ATTENTA_END
