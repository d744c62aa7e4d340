// Whether this process is the one that made an object, or its forked child.
#pragma once

#include <attenta/core/config.hpp>

#include <cstddef>

#if __has_include(<unistd.h>)
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

ATTENTA_BEGIN

/// A mark that a forked child does not have: a page which the system clears there, so that to look costs a load. Where
/// it does not, the number of the process is compared.
class ForkMark {
public:
    ForkMark() {
#if defined(MADV_WIPEONFORK)
        void* const page = ::mmap(nullptr, page_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return;
        if (::madvise(page, page_bytes(), MADV_WIPEONFORK) == 0) {
            mark_ = static_cast<volatile char*>(page);
            *mark_ = 1;
        } else {
            ::munmap(page, page_bytes());
        }
#endif
    }
    ~ForkMark() {
#if defined(MADV_WIPEONFORK)
        if (mark_) ::munmap(const_cast<char*>(mark_), page_bytes());
#endif
    }
    ForkMark(const ForkMark&) = delete;
    ForkMark& operator=(const ForkMark&) = delete;

    bool forked() const { return mark_ ? *mark_ == 0 : process() != process_; }

private:
#if __has_include(<unistd.h>)
    static std::size_t page_bytes() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }
    static long process() { return ::getpid(); }
#else
    static long process() { return 0; }
#endif

    volatile char* mark_ = nullptr;
    long process_ = process();
};

ATTENTA_END
