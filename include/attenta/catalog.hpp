// Mechanisms by name: tables, tensors from files, runs and comparisons. Library attenta::catalog; the kernels do not
// need it.
#pragma once

#if defined(ATTENTA_HEADERS)
#error "attenta/catalog.hpp needs the compiled library: link attenta::catalog, without ATTENTA_HEADERS"
#endif

#include <attenta/core/context.hpp>
#include <attenta/core/dtype.hpp>
#include <attenta/core/error.hpp>
#include <attenta/core/linear_state.hpp>
#include <attenta/core/view.hpp>
#include <attenta/engine/common/inputs.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

ATTENTA_BEGIN

/// All types of safetensors, under its names: F64 F32 F16 BF16 I64 I32 U8 BOOL, whose elements can be taken, and those
/// that a file may hold beside them, from I8 on: they are loaded and saved, and refused by name where one is taken.
enum class TensorType : std::uint8_t {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    u8,
    boolean,
    i8,
    i16,
    u16,
    u32,
    u64,
    c64,
    f8_e4m3,
    f8_e5m2,
    f8_e8m0,
    f8_e4m3fnuz,
    f8_e5m2fnuz,
    f6_e2m3,
    f6_e3m2,
    f4
};

std::string_view name(TensorType type);
std::int64_t bits_of(TensorType type);  ///< of an element

/// An array in row-major order that owns its bytes.
struct Tensor {
    TensorType type = TensorType::f32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;

    std::int64_t size() const;
    /// The elements: T is double, float, float16, bfloat16, int64_t, int32_t, uint8_t or bool, and exactly the tensor's
    /// type; throws Error otherwise.
    template <class T>
    std::span<const T> as() const;
    template <class T>
    std::span<T> as();
    /// Any floating type, converted; throws Error for the others.
    std::vector<float> to_float() const;

    /// Throws Error on a size below zero or a tensor that no memory could hold.
    static Tensor zeros(TensorType type, std::vector<std::int64_t> shape);
};

using Tensors = std::map<std::string, Tensor>;

/// A .safetensors file in memory.
struct TensorFile {
    Tensors tensors;
    std::map<std::string, std::string> metadata;

    /// Throws Error with the path and the reason for anything that is not a sound safetensors file.
    static TensorFile load(const std::filesystem::path& path);
    void save(const std::filesystem::path& path) const;
};

/// What a mechanism's row is run on: tensors by name, parameters as JSON text.
struct CaseInputs {
    const Tensors& tensors;
    std::string parameters = "{}";  ///< a JSON object
    bool optional_outputs = true;   ///< those in ( ) of Mechanism::outputs, most of which are larger than the others
};

/// A parameter of a mechanism, as its options struct lists it in `fields`.
struct Parameter {
    std::string_view name;
    std::string_view type;      ///< "bool", "int", "float", "float or null", ...
    std::string default_value;  ///< JSON
    std::string_view help;
};

class Arguments;

/// Inputs by name; a vector is [size, 1, 1], a matrix [rows, 1, columns].
using NamedInputs = std::map<std::string, Heads<const float>, std::less<>>;
/// A mechanism on its inputs. `o` and `state` go on from call to call.
using LinearRun = std::function<void(Heads<float> o, LinearState& state, Context& context)>;
/// A mechanism with its parameters. Finds its inputs by name, borrowed, once for all runs on them.
using LinearCall = std::function<LinearRun(const NamedInputs& inputs)>;

/// A row of the catalog.
struct Mechanism {
    std::string_view name, family;
    std::string_view summary;     ///< one line
    std::string_view source;      ///< paper
    std::string_view cost;        ///< time and extra memory
    std::string inputs, outputs;  ///< names and shapes, a letter for one size; optional ones in ( )
    std::vector<Parameter> (*parameters)();
    /// Maps named tensors and parameters onto the mechanism's function.
    void (*call)(Arguments& arguments, Context& context);
    /// Of the family `linear`: what it takes, without data, and its function with parameters as in CaseInputs, for
    /// programs that go through the mechanisms by name.
    std::vector<Input> (*list)() = nullptr;
    LinearCall (*linear)(const std::string& parameters) = nullptr;

    /// Named tensors and parameters in, named outputs out. Throws Error on unknown or missing names and on bad values.
    Tensors run(const CaseInputs& given, Context& context = default_context()) const;
};

/// All rows, family by family.
std::span<const Mechanism> mechanisms();
const Mechanism* find_mechanism(std::string_view family, std::string_view name);

/// What makes a case of a file without metadata, or takes the place of what its metadata says.
struct CaseSettings {
    const Mechanism* mechanism = nullptr;
    /// By name: JSON, or else a string. Parameters of other names stay as they are.
    std::map<std::string, std::string> parameters = {};
    std::string atol = {}, rtol = {};  ///< empty: as they are
};

/// The file as a case, with the settings in its metadata. Where no tensor is called in.* or out.*, as in the dump of a
/// framework, each is the input of that name or else the output: `state`, which is often both, is the input.
/// Throws Error on parameters that are no JSON object.
TensorFile make_case(TensorFile file, const CaseSettings& settings);

/// A case of `attenta run`: tensors `in.*` and `out.*`, metadata mechanism, family, params, atol, rtol.
struct CaseResult {
    /// ran: nothing to compare with; missing: not in the catalog.
    enum class Verdict : std::uint8_t { ok, ran, fail, missing } verdict = Verdict::missing;
    std::string name;                       ///< family/mechanism/case
    double max_abs = 0, max_rel = 0;        ///< infinite where a NaN, an infinity or a shape differs
    std::vector<std::string> not_compared;  ///< outputs that the file does not hold
    std::string reason;                     ///< of a failure, a sentence
    Tensors outputs;
};

/// Runs the mechanism on `in.*` and compares with those `out.*` that there are: |got - want| <= atol + rtol·|want|
/// elementwise, integers, bools and infinities equal, NaN only where NaN is wanted. Throws Error where the file is no
/// case or the mechanism refuses it.
CaseResult run_case(const TensorFile& file, std::string_view case_name, Context& context = default_context());

ATTENTA_END
