// What a forked child does, where there is fork() and nothing that forbids it.
#pragma once

#if defined(__has_feature)
#define ATTENTA_TEST_HAS_FEATURE(x) __has_feature(x)
#else
#define ATTENTA_TEST_HAS_FEATURE(x) 0
#endif
// The sanitizer of threads allows no new threads after a fork, that of addresses no limit on addresses.
#if __has_include(<unistd.h>) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__) && \
    !ATTENTA_TEST_HAS_FEATURE(thread_sanitizer) && !ATTENTA_TEST_HAS_FEATURE(address_sanitizer)
#define ATTENTA_TEST_FORK

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace attenta_test {

/// What `work` returns in a forked child; -1 if the child ends otherwise, or hangs.
template <class F>
int in_forked_child(F&& work) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(60);
        ::_exit(work());
    }
    int status = 0;
    return ::waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline bool limit_address_space(std::size_t bytes) {
    const rlimit limit{bytes, bytes};
    return ::setrlimit(RLIMIT_AS, &limit) == 0;
}

/// 0 where nobody knows.
inline std::ptrdiff_t threads_of_this_process() {
    std::error_code error;
    const std::filesystem::directory_iterator tasks("/proc/self/task", error);
    return error ? 0 : std::distance(begin(tasks), end(tasks));
}

}  // namespace attenta_test

#endif
