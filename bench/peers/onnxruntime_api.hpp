// The few functions of onnxruntime's C API that the peer calls: packages bring the library without headers. The table of
// functions only grows, behind its end; onnxruntime asserts, as we do, that ReleaseCustomOpDomain has number 101.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bench::ort {

struct Status;
struct Env;
struct MemoryInfo;
struct Session;
struct SessionOptions;
struct Value;

inline constexpr std::uint32_t api_version = 1;
inline constexpr int warnings = 2;          // OrtLoggingLevel
inline constexpr int device_allocator = 0;  // OrtAllocatorType
inline constexpr int cpu_memory = -1;       // OrtMemType

/// Functions that can fail give a status, null if they did not.
struct Api {
    using Unused = void (*)();

    Unused from_0[2];
    const char* (*GetErrorMessage)(const Status*);
    Status* (*CreateEnv)(int log_level, const char* log_id, Env** out);
    Unused from_4[4];
    Status* (*CreateSessionFromArray)(const Env*, const void* model, std::size_t bytes, const SessionOptions*,
                                      Session** out);
    Status* (*Run)(Session*, const void* run_options, const char* const* input_names, const Value* const* inputs,
                   std::size_t input_count, const char* const* output_names, std::size_t output_count, Value** outputs);
    Status* (*CreateSessionOptions)(SessionOptions** out);
    Unused from_11[13];
    Status* (*SetIntraOpNumThreads)(SessionOptions*, int threads);
    Unused from_25[24];
    Status* (*CreateTensorWithDataAsOrtValue)(const MemoryInfo*, void* data, std::size_t bytes,
                                              const std::int64_t* shape, std::size_t rank, int element_type,
                                              Value** out);
    Unused from_50[19];
    Status* (*CreateCpuMemoryInfo)(int allocator_type, int memory_type, MemoryInfo** out);
    Unused from_70[22];
    void (*ReleaseEnv)(Env*);
    void (*ReleaseStatus)(Status*);
    void (*ReleaseMemoryInfo)(MemoryInfo*);
    void (*ReleaseSession)(Session*);
    void (*ReleaseValue)(Value*);
    Unused from_97[3];
    void (*ReleaseSessionOptions)(SessionOptions*);
    Unused ReleaseCustomOpDomain;
};
static_assert(offsetof(Api, ReleaseCustomOpDomain) == 101 * sizeof(void*));
static_assert(offsetof(Api, SetIntraOpNumThreads) == 24 * sizeof(void*));
static_assert(offsetof(Api, CreateTensorWithDataAsOrtValue) == 49 * sizeof(void*));
static_assert(offsetof(Api, CreateCpuMemoryInfo) == 69 * sizeof(void*));
static_assert(offsetof(Api, ReleaseEnv) == 92 * sizeof(void*));

struct ApiBase {
    const Api* (*GetApi)(std::uint32_t version);
    const char* (*GetVersionString)();
};

extern "C" const ApiBase* OrtGetApiBase();

}  // namespace bench::ort
