// Workspaces: scratch from the system or from the user.
#include <attenta/attenta.hpp>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "support/errors.hpp"

namespace attenta_test {
namespace {

bool aligned(const void* p, std::uintptr_t to) { return reinterpret_cast<std::uintptr_t>(p) % to == 0; }

TEST(Workspaces, GrowAndStayAligned) {
    attenta::Workspace workspace;
    EXPECT_EQ(workspace.size(), 0u);
    for (const std::size_t bytes :
         {std::size_t{1}, std::size_t{100}, std::size_t{5000}, std::size_t{3} << 20, std::size_t{9} << 20}) {
        std::byte* p = workspace.reserve(bytes);
        ASSERT_NE(p, nullptr);
        EXPECT_TRUE(aligned(p, 64));
        EXPECT_GE(workspace.size(), bytes);
        p[0] = p[bytes - 1] = std::byte{1};
    }
    std::byte* large = workspace.data();
    EXPECT_EQ(workspace.reserve(10), large) << "a smaller request keeps what is there";
}

TEST(Workspaces, TakeMemoryFromTheUsersAllocator) {
    std::size_t taken = 0, released = 0;
    const attenta::Allocator allocator{[&](std::size_t bytes) {
                                           taken += bytes;
                                           return ::operator new (bytes, std::align_val_t{64});
                                       },
                                       [&](void* p, std::size_t bytes) {
                                           released += bytes;
                                           ::operator delete (p, std::align_val_t{64});
                                       }};
    {
        attenta::Workspace workspace(allocator);
        workspace.reserve(1000)[999] = std::byte{1};
        workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
        EXPECT_GE(taken, (std::size_t{8} << 20) + 1000);
        const std::size_t before = taken;
        workspace.reserve(500);
        EXPECT_EQ(taken, before);
    }
    EXPECT_EQ(taken, released);
}

TEST(Workspaces, SurviveAnAllocatorThatThrows) {
    bool fails = false;
    attenta::Workspace workspace({[&](std::size_t bytes) {
                                      if (fails) throw std::bad_alloc();
                                      return ::operator new (bytes, std::align_val_t{64});
                                  },
                                  [](void* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }});
    std::byte* const before = workspace.reserve(64);
    const std::size_t size = workspace.size();
    fails = true;
    EXPECT_THROW(workspace.reserve(std::size_t{8} << 20), std::bad_alloc);
    EXPECT_EQ(workspace.data(), before) << "other plans of the context live on it";
    EXPECT_EQ(workspace.size(), size);
    before[63] = std::byte{1};
    fails = false;
    workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
}

TEST(Workspaces, RefuseAnAllocatorThatGivesNullOrMisalignedMemory) {
    std::size_t off = 0, taken = 0, released = 0;
    bool null = false;
    const auto give = [&](std::size_t bytes) -> void* {
        if (null) return nullptr;
        ++taken;
        return static_cast<std::byte*>(::operator new (bytes + 64, std::align_val_t{64})) + off;
    };
    const auto take_back = [&](void* p, std::size_t) {
        ++released;
        const auto address = reinterpret_cast<std::uintptr_t>(p);
        ::operator delete (reinterpret_cast<void*>(address / 64 * 64), std::align_val_t{64});
    };
    {
        attenta::Workspace workspace({give, take_back});
        std::byte* const before = workspace.reserve(64);
        for (const bool is_null : {true, false}) {
            null = is_null, off = 32;
            EXPECT_TRUE(refuses([&] { workspace.reserve(std::size_t{8} << 20); }, {"Workspace::reserve", "8388608"}));
            EXPECT_EQ(workspace.data(), before);
            before[63] = std::byte{1};
        }
        off = 0;
        workspace.reserve(std::size_t{8} << 20)[100000] = std::byte{1};
    }
    EXPECT_EQ(taken, 3u);
    EXPECT_EQ(released, 3u);
}

TEST(Workspaces, RefuseMoreThanThereIs) {
    attenta::Workspace workspace;
    std::byte* const before = workspace.reserve(100);
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    for (const std::size_t bytes : {all, all - (std::size_t{1} << 20), all / 2, all / 2 - (std::size_t{1} << 22)})
        EXPECT_TRUE(refuses([&] { workspace.reserve(bytes); }, {"Workspace::reserve", std::to_string(bytes)}));
    EXPECT_EQ(workspace.data(), before);
    before[99] = std::byte{1};
}

/// An arena that is given back as a whole.
TEST(Workspaces, AnAllocatorMayHaveNoRelease) {
    alignas(64) static std::byte arena[std::size_t{2} << 20];
    attenta::Workspace workspace(
        {[](std::size_t bytes) -> void* { return bytes <= sizeof arena ? arena : nullptr; }, {}});
    EXPECT_EQ(workspace.reserve(1000), arena);
}

TEST(Contexts, KeepOneOfEachType) {
    struct Numbers {
        std::vector<int> x;
    };
    struct Others {
        std::vector<int> x;
    };
    attenta::Context context, another;
    context.kept<Numbers>().x = {1, 2};
    context.kept<Others>().x = {3};
    EXPECT_EQ(context.kept<Numbers>().x, (std::vector<int>{1, 2}));
    EXPECT_EQ(context.kept<Others>().x, (std::vector<int>{3}));
    EXPECT_TRUE(another.kept<Numbers>().x.empty());
}

}  // namespace
}  // namespace attenta_test
