// Exits with 0 if the processor refuses SSE3, which shows that the emulated one would refuse whatever is newer than SSE2.
#include <csignal>
#include <cstdlib>

int main() {
    std::signal(SIGILL, [](int) { std::_Exit(0); });
    asm volatile("haddps %xmm0, %xmm0");
    return 1;
}
