// What files of peers/ make known before main.
#pragma once

#include <vector>

namespace bench {

/// A static object of this class adds to all(), in no order.
template <class T>
class Added {
public:
    explicit Added(const T& more) { memory().push_back(more); }
    static const std::vector<T>& all() { return memory(); }

private:
    static std::vector<T>& memory() {
        static std::vector<T> memory;
        return memory;
    }
};

/// `ours`, and what others have added.
template <class T>
std::vector<T> with_added(std::vector<T> ours) {
    ours.insert(ours.end(), Added<T>::all().begin(), Added<T>::all().end());
    return ours;
}

}  // namespace bench
