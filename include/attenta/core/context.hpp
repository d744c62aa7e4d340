// What a call borrows: threads and scratch memory.
#pragma once

#include <attenta/core/executor.hpp>
#include <attenta/core/phases.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

ATTENTA_BEGIN

/// Where scratch comes from, if not from attenta's own arena (2 MiB-aligned, huge pages advised). `allocate` gives
/// memory aligned to 64 bytes, or throws, or returns null. Without `release` memory is not given back.
struct Allocator {
    std::function<void*(std::size_t bytes)> allocate;
    std::function<void(void*, std::size_t bytes)> release;
};

/// One block of scratch that grows when a plan asks for more and is otherwise kept.
class Workspace {
public:
    Workspace() = default;
    explicit Workspace(Allocator allocator) : allocator_(std::move(allocator)) {}
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    Workspace(Workspace&& other) noexcept
        : allocator_(other.allocator_),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    Workspace& operator=(Workspace&& other) noexcept {
        std::swap(allocator_, other.allocator_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Workspace();

    /// At least `bytes` of scratch, aligned to 64 bytes. Earlier pointers become invalid when it grows. Throws Error if
    /// there is not so much memory, and what the allocator throws; then everything is as before.
    std::byte* reserve(std::size_t bytes);
    std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    std::byte* allocate(std::size_t bytes) const;
    void release(std::byte* memory, std::size_t bytes) const;

    Allocator allocator_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Executor and workspace of a call. Belongs to one call at a time.
class Context {
public:
    Context();
    /// The executor is borrowed and must outlive the context. Throws Error if its concurrency() is below 1.
    explicit Context(Executor& executor) : Context(executor, {}) {}
    Context(Executor& executor, Allocator allocator);

    Executor& executor() { return *executor_; }
    Workspace& workspace() { return workspace_; }

    /// Where its plans add what their phases take; null: nowhere. Borrowed.
    void observe(PhaseTimes* phases) { phases_ = phases; }
    PhaseTimes* phases() const { return phases_; }

    /// The context's own T, made when it is first asked for. Calls fill it anew and leave its memory to the next one, so that
    /// a steady call allocates nothing. As the workspace it grows with what is asked of it and is kept.
    template <class T>
    T& kept() {
        for (const Kept& k : kept_)
            if (k.type == &type_of<T>) return *static_cast<T*>(k.object.get());
        kept_.push_back({&type_of<T>, std::make_shared<T>()});
        return *static_cast<T*>(kept_.back().object.get());
    }

private:
    template <class T>
    static inline char type_of = 0;  ///< its address tells the types apart
    struct Kept {
        const void* type;
        std::shared_ptr<void> object;
    };

    Executor* executor_;
    Workspace workspace_;
    PhaseTimes* phases_ = nullptr;
    std::vector<Kept> kept_;
};

/// The calling thread's own context, of that thread alone: the default of all calls.
Context& default_context();

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/core/context.inl>
#endif
