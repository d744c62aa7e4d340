// A KV cache: one producer of KvView.
//
// Layers of one sequence, [head, token, dim]: floats of any type, or codes (kv/storage.hpp), which attention reads as they
// are; no copy of a cache in another type ever exists. The newest and first tokens may stay floats beside codes: then K
// and V are in several parts, which `views` lists and `attend` merges.
//
// Tokens stand in slots. Appended ones take the next slots; evicting a token moves the head's last one into its slot, so
// that a head's tokens always fill its first slots, in any order. Positions travel with them. Heads may hold different
// tokens, and different numbers of them.
//
// Floats round to the nearest of the storage type, halves to even. NaN and infinities are data and stay what they are in
// floats; codes refuse them. A finite number beyond the largest of the storage type (65504 in f16, 1e36 in codes) is
// refused, not turned into an infinity.
#pragma once

#include <attenta/core/context.hpp>
#include <attenta/core/kv_view.hpp>
#include <attenta/kv/storage.hpp>
#include <attenta/softmax/softmax.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

ATTENTA_BEGIN

struct CacheOptions {
    int layers = 1;
    std::int64_t kv_heads = 0;
    std::int64_t dim = 0;
    std::int64_t dim_v = 0;     ///< 0: as dim
    std::int64_t capacity = 0;  ///< tokens that a head can hold
    KvStorage storage = Dtype::f32;
};

/// A value: copy it to fork a sequence, save it, load it. While one thread appends to a layer others may read views that
/// they got before.
class KvCache {
public:
    /// Allocates everything. Throws Error on sizes below 1, on a storage that does not fit, and if there is not so much
    /// memory.
    explicit KvCache(const CacheOptions& options);
    KvCache(const KvCache& other);
    KvCache& operator=(const KvCache& other);
    KvCache(KvCache&&) noexcept = default;
    KvCache& operator=(KvCache&&) noexcept = default;
    ~KvCache() = default;

    /// Adds k [Hkv, n, D] and v [Hkv, n, Dv] to a layer, as its storage has it, at the next positions. Throws Error when
    /// shapes do not fit, a head would hold more than `capacity`, or a number is beyond the storage type; the cache is as
    /// before then.
    void append(int layer, Heads<const float> k, Heads<const float> v);
    /// Throws Error where append would.
    void check_append(int layer, Heads<const float> k, Heads<const float> v) const;

    /// Forgets the tokens at positions from `tokens` on, of every layer. Throws Error where the storage has already made
    /// codes of tokens in a block or beside floats that would have to come back.
    void truncate(std::int64_t tokens);

    /// A token that has taken the slot of another one.
    struct Move {
        std::int32_t from, to;
    };
    /// Forgets the tokens in some slots of a head. What is kept beside the tokens makes the moves, in order. Throws Error
    /// on slots that hold nothing or come twice, and on storage with blocks or floats beside codes.
    std::span<const Move> evict(int layer, std::int64_t head, std::span<const std::int32_t> slots);

    /// Tokens that the fullest head holds, or one head.
    std::int64_t size(int layer = 0) const;
    std::int64_t size(int layer, std::int64_t head) const;
    /// Tokens appended so far: the position of the next one.
    std::int64_t seen(int layer = 0) const;
    const CacheOptions& options() const { return options_; }
    std::int64_t bytes() const { return static_cast<std::int64_t>(memory_.size()); }

    /// From now on `positions` and `slots` of a layer are at hand; evict does this, too.
    void track_positions(int layer);
    /// Of the head's tokens, by slot. The layer is tracked.
    std::span<const std::int32_t> positions(int layer, std::int64_t head) const;
    /// Slots in the order of their positions. The layer is tracked.
    std::span<const std::int32_t> slots(int layer, std::int64_t head) const;

    /// What the layer holds now, [head, token, dim]. Valid until the next append, evict or truncate. Keys and values that
    /// the storage rotates are rotated. Throws Error where there are several parts.
    KvView view(int layer) const;
    /// The same for queries that stand behind all of it, so that nobody asks for positions, and there are none.
    KvView view_of_past(int layer) const;
    /// What `view` shows in as many parts as there are, at most 4, in order of positions.
    std::vector<KvView> views(int layer) const;

    /// Queries [Hq, n, D] for a view whose keys are rotated: they are rotated, too, in `scratch`. Otherwise q itself.
    Heads<const float> turn_queries(Heads<const float> q, std::vector<float>& scratch) const;
    /// Rotates the outputs [Hq, n, Dv] of attention over a view back where its values are rotated.
    void turn_outputs(Heads<float> o) const;

    /// Attention of queries [Hq, n, D], which are the last n tokens unless the options say otherwise, over what a layer
    /// holds. Throws Error as softmax_attention does.
    void attend(int layer, Heads<const float> q, Heads<float> o, const SoftmaxOptions& options = {},
                float* lse = nullptr, Context& context = default_context()) const;

    /// Another key and value for the token in a slot, whose position stays. Throws Error as append and evict do.
    void replace(int layer, std::int64_t head, std::int64_t slot, const float* k, const float* v);

    /// A row of K or V as attention sees it, not rotated.
    void load_key(int layer, std::int64_t head, std::int64_t slot, float* to) const;
    void load_value(int layer, std::int64_t head, std::int64_t slot, float* to) const;

    std::size_t saved_bytes() const;
    /// `to` holds saved_bytes().
    void save(std::span<std::byte> to) const;
    /// A cache as it was saved, with the memory for `capacity` tokens. Throws Error if `from` is not what `save` wrote.
    static KvCache load(std::span<const std::byte> from);

private:
    /// K or V of all layers.
    struct Side {
        KvFormat format;
        RowCodes codes;
        std::int64_t dim = 0, row_bytes = 0;
        std::int64_t head_bytes = 0;     ///< of a head: its rows, then what blocks share
        std::int64_t at = 0, exact = 0;  ///< where they begin in a layer's memory, and rows of floats beside codes

        bool in_blocks() const { return format.block > 0; }
    };
    struct Layer {
        std::int64_t seen = 0;
        std::int64_t tail = 0;                       ///< position of the first row of floats behind the sinks
        std::vector<std::int32_t> lengths;           ///< [heads]
        bool moved = false;                          ///< slots are no longer positions
        std::vector<std::int32_t> positions, slots;  ///< [heads, capacity] or empty
    };
    struct SaveHeader;
    struct TurnedQueries {
        std::vector<float> memory;
    };

    static Side side(const CacheOptions& options, bool value);
    void allocate();
    void check_layer(const char* function, int layer) const;
    void check_head(const char* function, int layer, std::int64_t head) const;
    void check_slot(const char* function, int layer, std::int64_t head, std::int64_t slot) const;
    Layer& layer_at(int layer) { return layers_[static_cast<std::size_t>(layer)]; }
    const Layer& layer_at(int layer) const { return layers_[static_cast<std::size_t>(layer)]; }
    std::byte* row(const Side& side, int layer, std::int64_t head, std::int64_t slot) const;
    float* exact_row(const Side& side, int layer, std::int64_t head, std::int64_t place) const;
    bool has_exact() const { return options_.storage.sink > 0 || options_.storage.recent > 0; }
    std::int64_t exact_rows() const { return options_.storage.sink + 2 * options_.storage.recent; }
    std::int64_t end_of_codes(const Side& side, std::int64_t seen) const;
    const float* turned(const Side& side, const float* x);
    void append_rows(const Side& side, int layer, Heads<const float> x);
    void make_codes(const Side& side, int layer, Heads<const float> x);
    void keep_exact(const Side& side, int layer, Heads<const float> x, std::int64_t tail);
    void load_slot(const Side& side, int layer, std::int64_t head, std::int64_t slot, float* to) const;
    KvView::Rows rows_of(const Side& side, int layer, std::int64_t first) const;
    KvView::Rows exact_rows_of(const Side& side, int layer, std::int64_t place) const;
    /// The parts of a layer.
    struct Parts {
        std::array<KvView, 4> views;
        std::size_t count = 0;
        operator std::span<const KvView>() const { return {views.data(), count}; }
    };
    Parts parts(int layer) const;

    CacheOptions options_;
    Side k_, v_;
    std::int64_t layer_bytes_ = 0;
    Workspace memory_;
    std::vector<Layer> layers_;
    std::vector<Move> moves_;            ///< of the last evict
    std::vector<std::int32_t> gone_;     ///< slots of the last evict: the caller's may be the cache's own
    std::vector<std::int32_t> marks_;    ///< [capacity] scratch of evict
    std::vector<std::int32_t> numbers_;  ///< 0, 1, 2, …: positions of parts
    std::vector<float> scratch_;         ///< rows on their way
};

ATTENTA_END

#if defined(ATTENTA_HEADERS)
#include <attenta/kv/cache.inl>
#endif
