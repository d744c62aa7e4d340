// Every measured number of the engine, with its unit and its reason. Those that size types are constants; the others are
// the fields of Tuning, a row for each microarchitecture. Loops take a field by what it means; which processor runs is
// asked here alone.
//
// "From memory" is said of K and V that no cache holds, "interleaved" of heads whose rows are neighbours in memory. Where
// no processor is named, a number was measured before the history of this file's constants named processors.
#pragma once

#include <attenta/core/machine.hpp>

#include <cstdint>

ATTENTA_BEGIN

// Constants.

namespace attention {

/// A tile takes 128 keys, a multiple of every panel's width: scores of 96 query rows with them stay in L1 or L2.
inline constexpr std::int64_t key_block = 128;
/// A tile takes at most 96 query rows, which are whole register tiles of every instruction set,
inline constexpr std::int64_t rows_per_tile = 96;
/// and at most 8 register tiles of them.
inline constexpr std::int64_t panels_per_tile = 8;
/// Outputs are prefetched 8 rows before they are written.
inline constexpr std::int64_t output_rows_ahead = 8;

/// Up to 64 query rows per K/V head go through the few-query loop; from there on packed tiles are faster.
inline constexpr std::int64_t few_rows = 64;
/// The few-query loop takes blocks of 256 keys: long streams, few changes of head.
inline constexpr std::int64_t rows_block = 256;
/// Up to 8 query rows take dot products; more fill vectors themselves, without a horizontal step.
inline constexpr int most_dot_rows = 8;
/// Query rows that meet several keys in registers meet 8 of them where there are 32 registers, 4 where there are 16.
constexpr int score_tile_keys(int register_rows) { return register_rows >= 8 ? 8 : 4; }
/// 16 rows of float values are taken as two times 8, which hide latencies better than 12 and 4. Rows of halves are
/// converted as often, but they are bound by it.
inline constexpr std::int64_t two_eights = 16;
/// Two lines are prefetched with each vector of weights: memory would idle meanwhile.
inline constexpr int lines_per_weights = 2;

/// Lists of blocks of at least 16 keys, of at least 64 queries one by one, run the other way round: the queries of a block
/// of keys together. Chains of blocks take 2048 queries: a block that 5 % of them read still fills tiles.
inline constexpr std::int64_t least_chain_block = 16, least_chain_queries = 64, chain_queries = 2048;
/// Heads of a group read the union of their lists where dot products take their rows together.
inline constexpr std::int64_t most_united_rows = 16;
/// Keys on no more than 64 lists are cut into parts: more lists are parallel work enough.
inline constexpr std::int64_t most_split_lists = 64;

/// A task merges the parts of 16 rows.
inline constexpr std::int64_t rows_per_merge = 16;

}  // namespace attention

namespace select {

/// Scores of 128 keys at a time, as tiles take them.
inline constexpr std::int64_t key_block = 128;
/// Up to 8 query rows of a key head take dot products with unpacked keys, more take register tiles.
inline constexpr std::int64_t most_dot_rows = 8;
/// A task's rows share one packing of the keys; those of more queries than these are another task's.
inline constexpr std::int64_t task_rows = 384;
/// Keys of a task, where queries are few: parallel work for every thread.
inline constexpr std::int64_t task_keys = 8192;
/// Scores of a range of queries are kept until their best are chosen: 8 MB stay in the last cache.
inline constexpr std::int64_t score_bytes = 8 << 20;
/// Panels of keys are taken from 2 places in turn: memory answers several streams faster than one.
inline constexpr std::int64_t panel_streams = 2;
/// Keys are prefetched so many bytes ahead of their use.
inline constexpr std::int64_t prefetch_distance = 4096;

}  // namespace select

namespace scan {

/// Tokens of a chunk, for heads of 64 to 256 channels alike: half as many load and store the state twice as often, of
/// twice as many a quarter of the work would stay within the chunk.
inline constexpr std::int64_t chunk = 32;
inline constexpr std::int64_t block = 16;      ///< tokens of a sub-block, where decays differ by channel
inline constexpr std::int64_t few_tokens = 4;  ///< no more than these go step by step

/// Rows that are mapped are prefetched 2 rows ahead: a map is long enough for the processor to lose sight of the rows
/// behind.
inline constexpr std::int64_t mapped_rows_ahead = 2;
/// Rows of a state that come to L1 are prefetched 8 rows before their use.
inline constexpr std::int64_t state_rows_ahead = 8;
/// The next head's state is prefetched from 4 places in turn, which memory answers faster than one.
inline constexpr std::int64_t state_streams = 4;
/// A step takes 8 vectors of a state's row at a time where there are 32 registers, 4 where there are 16.
constexpr int step_vectors(std::int64_t lanes) { return lanes >= 16 ? 8 : 4; }

/// A task of a chunk-parallel scan takes 4 chunks.
inline constexpr std::int64_t task_chunks = 4;
/// A map that takes rows together gets those of at most 16 heads of a token, so that threads have work to share.
inline constexpr std::int64_t heads_mapped_together = 16;

}  // namespace scan

namespace elementwise {

/// Scratch rows of a block stay in L1: 24 KB.
inline constexpr std::int64_t block_floats = 6144;
/// Channels of a block: pieces of rows of 128 channels took three times as long as whole rows of 2048 on an EPYC whose pages
/// have 4 KB. Threads without work are worse, to which blocks become narrower.
inline constexpr std::int64_t narrowest_block = 128, widest_block = 2048;
/// Up to 32 blocks that are narrower because of their scratch make up whole rows together. They go through 16 tokens in turn,
/// or 8 to 64 as well: all tokens, block by block, took 1.2 to 1.8 times as long on the same EPYC.
inline constexpr std::int64_t most_together = 32, tokens_in_turn = 16;
/// Rows are prefetched 4 tokens ahead.
inline constexpr std::int64_t tokens_ahead = 4;
/// A task has work for some microseconds, in exponentials of one channel.
inline constexpr std::int64_t task_work = 32768;

}  // namespace elementwise

// Fields. Bytes of rows are those of all channels, in the type that they have in memory.

/// Tiles of many query rows.
struct TileTuning {
    /// Queries and outputs of the rows that share one packing of K and V: so many that packing costs little and the rows'
    /// state still sits in L2.
    std::int64_t task_bytes = 768 << 10;
    std::int64_t most_task_rows = 1536;  ///< whatever their bytes
};

/// Bytes of a head's values that the few-query loop adds at a time: many keep outputs in registers for longer, few keep
/// memory busier. Those from memory were measured on Zen 4.
struct ValueStep {
    std::int64_t cached = 4096;        ///< from a cache, up to 8 query rows
    std::int64_t cached_many = 32768;  ///< from a cache, more query rows
    std::int64_t streamed = 2048;  ///< from memory, floats and up to 8 query rows: the rest is bound by arithmetic, too
    std::int64_t interleaved = 2048;  ///< the same of interleaved heads, or as many rows as a head has query rows
    std::int64_t halves = 8192;       ///< from memory, halves or 16 query rows
    std::int64_t many = 16384;        ///< from memory, 32 query rows and more
};

/// Few query rows against unpacked K and V.
struct FewTuning {
    /// K and V of a sequence that are more than this come from memory.
    std::int64_t cache_bytes = 16 << 20;
    /// Queries and outputs of a task's heads: they stay in or near L1, or in L2 where memory wants neighbouring heads to be
    /// read together. The latter was measured on Intel.
    std::int64_t cached_task_bytes = 64 << 10, streamed_task_bytes = 512 << 10;
    /// Keys are cut into parts of at least this much of K and V and so many keys, and into no more than so many parts.
    /// They decide the last bits of results.
    std::int64_t part_bytes = 256 << 10, part_keys = 256, most_parts = 32;

    /// Places of a block that rows from memory are taken from in turn, for up to 8 query rows and for more: memory answers
    /// several streams faster than one.
    std::int64_t streams = 2, streams_of_many = 1;
    /// Whether up to 8 query rows read float rows from memory one after the other, by a table in the order of reading.
    bool whole_rows = false;
    /// Whether dot products of float rows from memory go in longer pieces of fewer rows: faster where rows come to L2.
    bool long_dots = true;

    /// Bytes between the prefetch of a row and its use: less comes late, more is evicted before its use. The same for every
    /// layout on Zen 4 and Intel.
    std::int64_t prefetch_distance = 8192;
    /// That many times as far ahead for whole rows of values of interleaved heads: more rows are on their way. Measured on
    /// Intel.
    std::int64_t interleaved_prefetch = 4;
    /// Shorter rows come fast enough from a cache by themselves: a prefetch costs more than it gives. In bytes.
    std::int64_t long_row = 256;

    ValueStep value_step = {};
    std::int64_t least_values = 4, most_values = 64;  ///< rows that are added at a time, whatever their bytes
};

/// Linear attention.
struct ScanTuning {
    /// States of interleaved heads and two chunks of their rows take this share of L2. Measured on Intel.
    double l2_share = 0.75;
    /// A cut of a head's columns repeats this share of a head's work.
    double repeated_share = 0.35;
    /// Chunks side by side take so many times the work of one after the other: states go from core to core.
    double by_chunks_work = 2;
    /// So much of the states is prefetched while rows are mapped: memory would idle meanwhile. In floats.
    std::int64_t mapped_state_floats = 128 << 10;
};

struct Tuning {
    const char* name = "generic";
    /// Whether prefetches from memory go to L1. Into L2 otherwise: a prefetch into L1 holds one of its miss buffers until
    /// memory answers, and 24 of them, as on Zen 4, reach half of what memory delivers.
    bool prefetch_to_l1 = false;
    TileTuning tile = {};
    FewTuning few = {};
    ScanTuning scan = {};
};

// Rows.

/// Other processors take what Zen 4 was measured with.
inline constexpr Tuning generic_tuning;
/// Zen 3, whose family has the same number, takes this row, too.
inline constexpr Tuning zen4_tuning{.name = "zen4"};
/// Intel's processors foresee many short streams of whole rows best. Measured on a Granite Rapids; all of
/// Intel's processors, of which Skylake is the first with AVX-512, take this row.
inline constexpr Tuning intel_tuning{.name = "intel", .few = {.streams = 8, .streams_of_many = 8, .whole_rows = true}};
/// Prefetches into L1 serve Zen 5's own prefetchers better than those into L2, 15 to 30 % of a long decode. It foresees what
/// a page of memory is read for in one place: neighbouring tokens of halves would share a page in a step.
inline constexpr Tuning zen5_tuning{
    .name = "zen5",
    .prefetch_to_l1 = true,
    .few = {.streams = 8, .streams_of_many = 8, .long_dots = false, .value_step = {.streamed = 8192}}};

constexpr const Tuning& tuning_of(Processor p) {
    if (p.vendor == Vendor::intel) return intel_tuning;
    if (p.vendor == Vendor::amd && p.family >= 0x1a) return zen5_tuning;
    if (p.vendor == Vendor::amd && p.family == 0x19) return zen4_tuning;
    return generic_tuning;
}

/// This machine's row.
inline const Tuning& tuning() {
    static const Tuning& row = tuning_of(this_processor());
    return row;
}

/// Lists the fields once: visit(name, value, unit).
template <class Visitor>
void fields(Visitor&& visit, const Tuning& t) {
    const TileTuning& tile = t.tile;
    const FewTuning& few = t.few;
    const ScanTuning& scan = t.scan;
    visit("prefetch_to_l1", t.prefetch_to_l1, "");
    visit("tile.task_bytes", tile.task_bytes, "bytes");
    visit("tile.most_task_rows", tile.most_task_rows, "query rows");
    visit("few.cache_bytes", few.cache_bytes, "bytes");
    visit("few.cached_task_bytes", few.cached_task_bytes, "bytes");
    visit("few.streamed_task_bytes", few.streamed_task_bytes, "bytes");
    visit("few.part_bytes", few.part_bytes, "bytes");
    visit("few.part_keys", few.part_keys, "keys");
    visit("few.most_parts", few.most_parts, "parts");
    visit("few.streams", few.streams, "streams");
    visit("few.streams_of_many", few.streams_of_many, "streams");
    visit("few.whole_rows", few.whole_rows, "");
    visit("few.long_dots", few.long_dots, "");
    visit("few.prefetch_distance", few.prefetch_distance, "bytes");
    visit("few.interleaved_prefetch", few.interleaved_prefetch, "times prefetch_distance");
    visit("few.long_row", few.long_row, "bytes");
    visit("few.value_step.cached", few.value_step.cached, "bytes");
    visit("few.value_step.cached_many", few.value_step.cached_many, "bytes");
    visit("few.value_step.streamed", few.value_step.streamed, "bytes");
    visit("few.value_step.interleaved", few.value_step.interleaved, "bytes");
    visit("few.value_step.halves", few.value_step.halves, "bytes");
    visit("few.value_step.many", few.value_step.many, "bytes");
    visit("few.least_values", few.least_values, "rows");
    visit("few.most_values", few.most_values, "rows");
    visit("scan.l2_share", scan.l2_share, "of L2");
    visit("scan.repeated_share", scan.repeated_share, "of a head's work");
    visit("scan.by_chunks_work", scan.by_chunks_work, "times a head's work");
    visit("scan.mapped_state_floats", scan.mapped_state_floats, "floats");
}

ATTENTA_END
