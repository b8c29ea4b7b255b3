// The C API of libllama. Made from src/capi by `cargo xtask headers`: change it there.

#ifndef LLAMA_H
#define LLAMA_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdbool.h>
#include "ggml.h"
#include "ggml-cpu.h"
#include "ggml-backend.h"
#include "ggml-opt.h"
#include "gguf.h"

#ifdef LLAMA_SHARED
#    if defined(_WIN32) && !defined(__MINGW32__)
#        ifdef LLAMA_BUILD
#            define LLAMA_API __declspec(dllexport)
#        else
#            define LLAMA_API __declspec(dllimport)
#        endif
#    else
#        define LLAMA_API __attribute__ ((visibility ("default")))
#    endif
#else
#    define LLAMA_API
#endif

#ifdef __GNUC__
#    define DEPRECATED(func, hint) func __attribute__((deprecated(hint)))
#    define LLAMA_DEPRECATED(hint) __attribute__((deprecated(hint)))
#elif defined(_MSC_VER)
#    define DEPRECATED(func, hint) __declspec(deprecated(hint)) func
#    define LLAMA_DEPRECATED(hint)
#else
#    define DEPRECATED(func, hint) func
#    define LLAMA_DEPRECATED(hint)
#endif

#define LLAMA_DEFAULT_SEED 0xFFFFFFFF

#define LLAMA_TOKEN_NULL -1

#define LLAMA_FILE_MAGIC_GGLA 0x67676c61u // 'ggla'
#define LLAMA_FILE_MAGIC_GGSN 0x6767736eu // 'ggsn'
#define LLAMA_FILE_MAGIC_GGSQ 0x67677371u // 'ggsq'

#define LLAMA_SESSION_MAGIC   LLAMA_FILE_MAGIC_GGSN
#define LLAMA_SESSION_VERSION 10

#define LLAMA_STATE_SEQ_MAGIC   LLAMA_FILE_MAGIC_GGSQ
#define LLAMA_STATE_SEQ_VERSION 3

#define LLAMA_STATE_SEQ_FLAGS_NONE         0
#define LLAMA_STATE_SEQ_FLAGS_SWA_ONLY     1 // old name of the next
#define LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY 1 // only what a window or a recurrent state would lose
#define LLAMA_STATE_SEQ_FLAGS_ON_DEVICE    2 // bytes stay on the device; the state gotten before for this sequence becomes invalid

#define LLAMA_ROPE_SCALING_TYPE_MAX_VALUE LLAMA_ROPE_SCALING_TYPE_LONGROPE

struct llama_sampler;
typedef struct llama_token_data            llama_token_data;
typedef struct llama_token_data_array      llama_token_data_array;
typedef struct llama_batch                 llama_batch;
typedef struct llama_model_quantize_params llama_model_quantize_params;
typedef struct llama_logit_bias            llama_logit_bias;
typedef struct llama_sampler_chain_params  llama_sampler_chain_params;
typedef struct llama_chat_message          llama_chat_message;


// How weights get from the file into memory.
enum llama_load_mode {
    // mmap where the devices allow it
    LLAMA_LOAD_MODE_AUTO = -1,
    // read into allocated memory
    LLAMA_LOAD_MODE_NONE = 0,
    // map the file
    LLAMA_LOAD_MODE_MMAP = 1,
    // read, and lock the memory
    LLAMA_LOAD_MODE_MLOCK = 2,
    // map, and lock the memory
    LLAMA_LOAD_MODE_MMAP_MLOCK = 3,
    // read past the page cache
    LLAMA_LOAD_MODE_DIRECT_IO = 4,
};

// How positions turn the query and key vectors.
enum llama_rope_type {
    LLAMA_ROPE_TYPE_NONE = -1,
    LLAMA_ROPE_TYPE_NORM = 0,
    LLAMA_ROPE_TYPE_NEOX = 2,
    LLAMA_ROPE_TYPE_MROPE = 8,
    LLAMA_ROPE_TYPE_IMROPE = 40,
    LLAMA_ROPE_TYPE_VISION = 24,
};

// How a sequence's token embeddings become one.
enum llama_pooling_type {
    // as the model file says
    LLAMA_POOLING_TYPE_UNSPECIFIED = -1,
    LLAMA_POOLING_TYPE_NONE = 0,
    LLAMA_POOLING_TYPE_MEAN = 1,
    LLAMA_POOLING_TYPE_CLS = 2,
    LLAMA_POOLING_TYPE_LAST = 3,
    // the classification head of a reranker
    LLAMA_POOLING_TYPE_RANK = 4,
};

// The kind of tokenizer.
enum llama_vocab_type {
    // a model without vocabulary
    LLAMA_VOCAB_TYPE_NONE = 0,
    // SentencePiece: merges by score, bytes as fallback
    LLAMA_VOCAB_TYPE_SPM = 1,
    // byte-level BPE, merges by rank
    LLAMA_VOCAB_TYPE_BPE = 2,
    // WordPiece (BERT)
    LLAMA_VOCAB_TYPE_WPM = 3,
    // Unigram (T5)
    LLAMA_VOCAB_TYPE_UGM = 4,
    // greedy longest match (RWKV)
    LLAMA_VOCAB_TYPE_RWKV = 5,
    // PLaMo-2: Aho-Corasick and dynamic programming
    LLAMA_VOCAB_TYPE_PLAMO2 = 6,
    // for tests: hashes of fixed-size chunks
    LLAMA_VOCAB_TYPE_TEST = 7,
};

// `tokenizer.ggml.token_type` of a model file.
enum llama_token_type {
    LLAMA_TOKEN_TYPE_UNDEFINED = 0,
    LLAMA_TOKEN_TYPE_NORMAL = 1,
    LLAMA_TOKEN_TYPE_UNKNOWN = 2,
    LLAMA_TOKEN_TYPE_CONTROL = 3,
    LLAMA_TOKEN_TYPE_USER_DEFINED = 4,
    LLAMA_TOKEN_TYPE_UNUSED = 5,
    LLAMA_TOKEN_TYPE_BYTE = 6,
};

// Bits that describe a token.
enum llama_token_attr {
    LLAMA_TOKEN_ATTR_UNDEFINED = 0,
    LLAMA_TOKEN_ATTR_UNKNOWN = 1,
    LLAMA_TOKEN_ATTR_UNUSED = 2,
    LLAMA_TOKEN_ATTR_NORMAL = 4,
    LLAMA_TOKEN_ATTR_CONTROL = 8,
    LLAMA_TOKEN_ATTR_USER_DEFINED = 16,
    LLAMA_TOKEN_ATTR_BYTE = 32,
    LLAMA_TOKEN_ATTR_NORMALIZED = 64,
    LLAMA_TOKEN_ATTR_LSTRIP = 128,
    LLAMA_TOKEN_ATTR_RSTRIP = 256,
    LLAMA_TOKEN_ATTR_SINGLE_WORD = 512,
};

// The mix of tensor types of a model file (`general.file_type`).
enum llama_ftype {
    LLAMA_FTYPE_ALL_F32 = 0,
    LLAMA_FTYPE_MOSTLY_F16 = 1,
    LLAMA_FTYPE_MOSTLY_Q4_0 = 2,
    LLAMA_FTYPE_MOSTLY_Q4_1 = 3,
    LLAMA_FTYPE_MOSTLY_Q8_0 = 7,
    LLAMA_FTYPE_MOSTLY_Q5_0 = 8,
    LLAMA_FTYPE_MOSTLY_Q5_1 = 9,
    LLAMA_FTYPE_MOSTLY_Q2_K = 10,
    LLAMA_FTYPE_MOSTLY_Q3_K_S = 11,
    LLAMA_FTYPE_MOSTLY_Q3_K_M = 12,
    LLAMA_FTYPE_MOSTLY_Q3_K_L = 13,
    LLAMA_FTYPE_MOSTLY_Q4_K_S = 14,
    LLAMA_FTYPE_MOSTLY_Q4_K_M = 15,
    LLAMA_FTYPE_MOSTLY_Q5_K_S = 16,
    LLAMA_FTYPE_MOSTLY_Q5_K_M = 17,
    LLAMA_FTYPE_MOSTLY_Q6_K = 18,
    LLAMA_FTYPE_MOSTLY_IQ2_XXS = 19,
    LLAMA_FTYPE_MOSTLY_IQ2_XS = 20,
    LLAMA_FTYPE_MOSTLY_Q2_K_S = 21,
    LLAMA_FTYPE_MOSTLY_IQ3_XS = 22,
    LLAMA_FTYPE_MOSTLY_IQ3_XXS = 23,
    LLAMA_FTYPE_MOSTLY_IQ1_S = 24,
    LLAMA_FTYPE_MOSTLY_IQ4_NL = 25,
    LLAMA_FTYPE_MOSTLY_IQ3_S = 26,
    LLAMA_FTYPE_MOSTLY_IQ3_M = 27,
    LLAMA_FTYPE_MOSTLY_IQ2_S = 28,
    LLAMA_FTYPE_MOSTLY_IQ2_M = 29,
    LLAMA_FTYPE_MOSTLY_IQ4_XS = 30,
    LLAMA_FTYPE_MOSTLY_IQ1_M = 31,
    LLAMA_FTYPE_MOSTLY_BF16 = 32,
    LLAMA_FTYPE_MOSTLY_TQ1_0 = 36,
    LLAMA_FTYPE_MOSTLY_TQ2_0 = 37,
    LLAMA_FTYPE_MOSTLY_MXFP4_MOE = 38,
    LLAMA_FTYPE_MOSTLY_NVFP4 = 39,
    LLAMA_FTYPE_MOSTLY_Q1_0 = 40,
    LLAMA_FTYPE_MOSTLY_Q2_0 = 41,
    // a flag: the file does not say, this is what most of its tensors are
    LLAMA_FTYPE_GUESSED = 1024,
};

// How RoPE is stretched beyond the training context.
enum llama_rope_scaling_type {
    // as the model file says
    LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED = -1,
    LLAMA_ROPE_SCALING_TYPE_NONE = 0,
    LLAMA_ROPE_SCALING_TYPE_LINEAR = 1,
    LLAMA_ROPE_SCALING_TYPE_YARN = 2,
    LLAMA_ROPE_SCALING_TYPE_LONGROPE = 3,
};

// What attention may see.
enum llama_attention_type {
    LLAMA_ATTENTION_TYPE_UNSPECIFIED = -1,
    LLAMA_ATTENTION_TYPE_CAUSAL = 0,
    LLAMA_ATTENTION_TYPE_NON_CAUSAL = 1,
};

// Whether attention runs fused. Ours always does; the value is checked and kept.
enum llama_flash_attn_type {
    LLAMA_FLASH_ATTN_TYPE_AUTO = -1,
    LLAMA_FLASH_ATTN_TYPE_DISABLED = 0,
    LLAMA_FLASH_ATTN_TYPE_ENABLED = 1,
};

// How a model is divided over several devices.
enum llama_split_mode {
    // one device
    LLAMA_SPLIT_MODE_NONE = 0,
    // whole layers, with their KV
    LLAMA_SPLIT_MODE_LAYER = 1,
    // rows of matrices
    LLAMA_SPLIT_MODE_ROW = 2,
    // every tensor over all devices
    LLAMA_SPLIT_MODE_TENSOR = 3,
};

// Whether rows of large tables are read only when they are needed.
enum llama_lazy_mode {
    LLAMA_LAZY_MODE_OFF = 0,
    // only tables above 4 GiB, with mmap
    LLAMA_LAZY_MODE_AUTO = 1,
    LLAMA_LAZY_MODE_ON = 2,
};

// What a context computes.
enum llama_context_type {
    LLAMA_CONTEXT_TYPE_DEFAULT = 0,
    // multi-token prediction: the layers after the last one
    LLAMA_CONTEXT_TYPE_MTP = 1,
};

// Which member of a `llama_model_kv_override` counts.
enum llama_model_kv_override_type {
    LLAMA_KV_OVERRIDE_TYPE_INT = 0,
    LLAMA_KV_OVERRIDE_TYPE_FLOAT = 1,
    LLAMA_KV_OVERRIDE_TYPE_BOOL = 2,
    LLAMA_KV_OVERRIDE_TYPE_STR = 3,
};

// Sampling settings that a model file may recommend.
enum llama_model_meta_key {
    LLAMA_MODEL_META_KEY_SAMPLING_SEQUENCE = 0,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_K = 1,
    LLAMA_MODEL_META_KEY_SAMPLING_TOP_P = 2,
    LLAMA_MODEL_META_KEY_SAMPLING_MIN_P = 3,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_PROBABILITY = 4,
    LLAMA_MODEL_META_KEY_SAMPLING_XTC_THRESHOLD = 5,
    LLAMA_MODEL_META_KEY_SAMPLING_TEMP = 6,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_LAST_N = 7,
    LLAMA_MODEL_META_KEY_SAMPLING_PENALTY_REPEAT = 8,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT = 9,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_TAU = 10,
    LLAMA_MODEL_META_KEY_SAMPLING_MIROSTAT_ETA = 11,
};

// Which half of an encoder-decoder `llama_process` runs.
enum llama_process_type {
    LLAMA_PROCESS_TYPE_ENCODE = 0,
    LLAMA_PROCESS_TYPE_DECODE = 1,
};

// A LoRA adapter; belongs to its model.
struct llama_adapter_lora;

// A batch that is filled token by token.
struct llama_batch_ext;

// One conversation's worth of state: batches in, logits out.
struct llama_context;

// The KV store of a context.
struct llama_memory_i;

// A loaded model.
struct llama_model;

// A tokenizer; belongs to its model.
struct llama_vocab;

// Where tensors whose name matches `pattern` are kept; a list ends with a NULL pattern.
struct llama_model_tensor_buft_override {
    const char *pattern;
    ggml_backend_buffer_type_t buft;
};

// Load progress, 0..=1; `false` cancels.
typedef bool (*llama_progress_callback)(float progress, void *user_data);

// Replaces one metadata value of a model file; a list ends with an empty `key`.
struct llama_model_kv_override {
    enum llama_model_kv_override_type tag;
    char key[128];
    union {
        int64_t val_i64;
        double val_f64;
        bool val_bool;
        char val_str[128];
    };
};

// How to load a model.
struct llama_model_params {
    // devices to use, ending with NULL; NULL: all of them
    ggml_backend_dev_t *devices;
    const struct llama_model_tensor_buft_override *tensor_buft_overrides;
    // layers kept on devices; negative: all
    int32_t n_gpu_layers;
    enum llama_split_mode split_mode;
    enum llama_load_mode load_mode;
    enum llama_lazy_mode lazy_mode;
    // the device where `split_mode` is none
    int32_t main_gpu;
    // share of each device, `llama_max_devices()` values; NULL: by free memory
    const float *tensor_split;
    llama_progress_callback progress_callback;
    void *progress_callback_user_data;
    // ends with an empty key
    const struct llama_model_kv_override *kv_overrides;
    // no weights
    bool vocab_only;
    // look for invalid values in every tensor
    bool check_tensors;
    // allow repacked weights
    bool use_extra_bufts;
    bool no_host;
    // metadata only, memory is simulated
    bool no_alloc;
    // with the layers for multi-token prediction
    bool load_mtp;
};

// Fills a tensor of a model made by `llama_model_init_from_user`.
typedef void (*llama_model_set_tensor_data_t)(struct ggml_tensor *tensor, void *userdata);

// An index into the vocabulary.
typedef int32_t llama_token;

// The importance of one tensor's columns; a list ends with a NULL name.
struct llama_model_imatrix_data {
    const char *name;
    const float *data;
    size_t size;
};

// The type of tensors whose name matches `pattern`; a list ends with a NULL pattern.
struct llama_model_tensor_override {
    const char *pattern;
    enum ggml_type type;
};

// How to quantise a model file.
struct llama_model_quantize_params {
    // 0 or less: as many as there are
    int32_t nthread;
    enum llama_ftype ftype;
    // GGML_TYPE_COUNT: as `ftype` says; likewise the next
    enum ggml_type output_tensor_type;
    enum ggml_type token_embedding_type;
    bool allow_requantize;
    bool quantize_output_tensor;
    bool only_copy;
    bool pure;
    bool keep_split;
    bool dry_run;
    const struct llama_model_imatrix_data *imatrix;
    const struct llama_model_kv_override *kv_overrides;
    const struct llama_model_tensor_override *tt_overrides;
    // layers to leave out, ending with -1
    const int32_t *prune_layers;
    // most bytes of tensor rows in memory at once; 0: 8 GiB
    size_t max_buf_size;
};

// A sequence, `0..n_seq_max`.
typedef int32_t llama_seq_id;

// A candidate of a sampler.
struct llama_token_data {
    llama_token id;
    float logit;
    // probability, once a sampler has computed it
    float p;
};

// What samplers work on.
struct llama_token_data_array {
    // samplers may point this elsewhere
    struct llama_token_data *data;
    size_t size;
    // an index into `data`, not a token; -1 while nothing is selected
    int64_t selected;
    // by logit, descending
    bool sorted;
};

// Tensors between the samplers of a chain that runs where the model runs.
struct llama_sampler_data {
    struct ggml_tensor *logits;
    struct ggml_tensor *probs;
    struct ggml_tensor *sampled;
    struct ggml_tensor *candidates;
};

// What a sampler can do. Callers may bring their own: see `llama_sampler_init`.
struct llama_sampler_i {
    // may be NULL
    const char *(*name)(const struct llama_sampler *smpl);
    // may be NULL
    void (*accept)(struct llama_sampler *smpl, llama_token token);
    // required
    void (*apply)(struct llama_sampler *smpl, struct llama_token_data_array *cur_p);
    // may be NULL
    void (*reset)(struct llama_sampler *smpl);
    // may be NULL where `ctx` is NULL
    struct llama_sampler *(*clone)(const struct llama_sampler *smpl);
    // may be NULL where `ctx` is NULL
    void (*free)(struct llama_sampler *smpl);
    // the rest is for chains that run where the model runs; all may be NULL
    bool (*backend_init)(struct llama_sampler *smpl, ggml_backend_buffer_type_t buft, uint32_t n_outputs_max_per_seq);
    void (*backend_accept)(struct llama_sampler *smpl, struct ggml_context *ctx, struct ggml_cgraph *gf, struct ggml_tensor *selected_token);
    void (*backend_apply)(struct llama_sampler *smpl, struct ggml_context *ctx, struct ggml_cgraph *gf, struct llama_sampler_data *data);
    void (*backend_set_input)(struct llama_sampler *smpl);
    void (*backend_reset)(struct llama_sampler *smpl);
    // takes over another's state; same type and settings
    void (*copy_state)(const struct llama_sampler *src, struct llama_sampler *dst);
};

// What a custom sampler keeps.
typedef void *llama_sampler_context_t;

// A sampler: what it can do, and its state.
struct llama_sampler {
    struct llama_sampler_i *iface;
    llama_sampler_context_t ctx;
};

// A sampler chain that runs where the model runs, for one sequence.
struct llama_sampler_seq_config {
    llama_seq_id seq_id;
    struct llama_sampler *sampler;
};

// How to make a context.
struct llama_context_params {
    // cells of the KV store; 0: the training context
    uint32_t n_ctx;
    // most tokens in one `llama_decode`
    uint32_t n_batch;
    // most tokens computed at once
    uint32_t n_ubatch;
    uint32_t n_seq_max;
    // snapshots of recurrent state per sequence
    uint32_t n_rs_seq;
    // most outputs of a ubatch; 0: n_batch
    uint32_t n_outputs_max;
    // most outputs of a sequence; 0: n_outputs_max
    uint32_t n_outputs_max_per_seq;
    // threads for single tokens
    int32_t n_threads;
    // threads for prompts
    int32_t n_threads_batch;
    enum llama_context_type ctx_type;
    enum llama_rope_scaling_type rope_scaling_type;
    enum llama_pooling_type pooling_type;
    enum llama_attention_type attention_type;
    enum llama_flash_attn_type flash_attn_type;
    // 0: from the model
    float rope_freq_base;
    // 0: from the model
    float rope_freq_scale;
    // negative: from the model; likewise the next three
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;
    // 0: from the model
    uint32_t yarn_orig_ctx;
    // no longer used
    float defrag_thold;
    ggml_backend_sched_eval_callback cb_eval;
    void *cb_eval_user_data;
    // type of the stored keys
    enum ggml_type type_k;
    // type of the stored values
    enum ggml_type type_v;
    // `true` stops a running `llama_decode`
    ggml_abort_callback abort_callback;
    void *abort_callback_data;
    // keep embeddings too
    bool embeddings;
    bool offload_kqv;
    // no timings
    bool no_perf;
    bool op_offload;
    // windowed layers keep every position
    bool swa_full;
    // one store for all sequences
    bool kv_unified;
    // the caller keeps these chains alive
    struct llama_sampler_seq_config *samplers;
    size_t n_samplers;
    // a context to share with
    struct llama_context *ctx_other;
};

// The KV store of a context, as callers hold it.
typedef struct llama_memory_i *llama_memory_t;

// A position in a sequence.
typedef int32_t llama_pos;

// Input of `llama_encode` and `llama_decode`; every array has `n_tokens` elements.
struct llama_batch {
    int32_t n_tokens;
    // token ids, or NULL where `embd` is used
    llama_token *token;
    // n_tokens rows of n_embd floats, or NULL where `token` is used
    float *embd;
    // positions; NULL: each sequence goes on where it ended
    llama_pos *pos;
    // how many sequences each token belongs to
    int32_t *n_seq_id;
    // these sequences; NULL: sequence 0
    llama_seq_id **seq_id;
    // non-zero: this token's output is wanted; NULL: the last token's, or all of them where embeddings are on
    int8_t *logits;
};

// `LLAMA_STATE_SEQ_FLAGS_*`.
typedef uint32_t llama_state_seq_flags;

// Embedding rows for `llama_batch_ext_*`.
struct llama_embd {
    const float *data;
    size_t n_rows;
    // floats in a row
    size_t n_embd;
};

// One message of a chat.
struct llama_chat_message {
    const char *role;
    const char *content;
};

// How to make a sampler chain.
struct llama_sampler_chain_params {
    // no timings
    bool no_perf;
};

// Added to one token's logit.
struct llama_logit_bias {
    llama_token token;
    float bias;
};

// Times of a context, in ms.
struct llama_perf_context_data {
    // when it began
    double t_start_ms;
    // loading the model
    double t_load_ms;
    // prompts
    double t_p_eval_ms;
    // single tokens
    double t_eval_ms;
    // tokens of prompts
    int32_t n_p_eval;
    // single tokens
    int32_t n_eval;
    // how often a plan was used again
    int32_t n_reused;
};

// Times of a sampler chain.
struct llama_perf_sampler_data {
    double t_sample_ms;
    int32_t n_sample;
};

// Whether a tensor is trained.
typedef bool (*llama_opt_param_filter)(const struct ggml_tensor *tensor, void *userdata);

// How to train.
struct llama_opt_params {
    // context that training assumes; 0: the context's
    uint32_t n_ctx_train;
    llama_opt_param_filter param_filter;
    void *param_filter_ud;
    ggml_opt_get_optimizer_params get_opt_pars;
    void *get_opt_pars_ud;
    enum ggml_opt_optimizer_type optimizer_type;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the API this library implements, "0.5.0".
LLAMA_API const char *llama_version(void);

// Starts the library. With `CAMELID_HELP=1` it prints every environment switch.
LLAMA_API void llama_backend_init(void);

// Ends the library. Contexts and models are freed by their own functions.
LLAMA_API void llama_backend_free(void);

// How to place memory and threads on a machine of several NUMA nodes, `GGML_NUMA_STRATEGY_*`, for models loaded from now on. `CAMELID_NUMA` wins, and
// knows one more: `shard`. What was found and decided goes to the log; `camelid_numa_report` tells it too.
LLAMA_API
void llama_numa_init(enum ggml_numa_strategy numa);

// Accepted: a pool belongs to the program's own ggml, and is never looked into. Contexts compute with threads of their own, as many as
// `llama_set_n_threads` says, on cores of their own.
LLAMA_API void llama_attach_threadpool(struct llama_context * ctx, ggml_threadpool_t threadpool, ggml_threadpool_t threadpool_batch);

// Nothing was taken from a pool that was attached.
LLAMA_API void llama_detach_threadpool(struct llama_context * ctx);

// Microseconds since an arbitrary moment, never going back.
LLAMA_API int64_t llama_time_us(void);

// Most devices a model can be divided over.
LLAMA_API size_t llama_max_devices(void);

// Most sequences a context can hold.
LLAMA_API size_t llama_max_parallel_sequences(void);

// Most elements of `llama_model_params.tensor_buft_overrides`.
LLAMA_API size_t llama_max_tensor_buft_overrides(void);

// Whether `LLAMA_LOAD_MODE_MMAP` works here.
LLAMA_API bool llama_supports_mmap(void);

// Whether `LLAMA_LOAD_MODE_MLOCK` works here.
LLAMA_API bool llama_supports_mlock(void);

// Whether there is a device that layers can be kept on.
LLAMA_API bool llama_supports_gpu_offload(void);

// Whether layers can be kept on other machines.
LLAMA_API bool llama_supports_rpc(void);

// The instruction sets in use, as text.
LLAMA_API const char *llama_print_system_info(void);

// The callback that gets log lines, and its user data.
LLAMA_API void llama_log_get(ggml_log_callback *log_callback, void **user_data);

// Sends log lines to a callback; NULL: to stderr. Lines come from any thread, also from several at once. The program's libggml is told too.
LLAMA_API void llama_log_set(ggml_log_callback log_callback, void *user_data);

// The name of a file type, like "Q4_K - Medium"; with "(guessed) " before it where the flag is set.
LLAMA_API const char *llama_ftype_name(enum llama_ftype ftype);

// "auto", "disabled" or "enabled"; NULL for any other value.
LLAMA_API const char *llama_flash_attn_type_name(enum llama_flash_attn_type flash_attn_type);

// "auto", "none", "mmap", "mlock", "mmap+mlock" or "dio"; NULL for any other value.
LLAMA_API const char *llama_load_mode_name(enum llama_load_mode load_mode);

// The inverse of `llama_load_mode_name`; `LLAMA_LOAD_MODE_AUTO` and a log line for any other text.
LLAMA_API enum llama_load_mode llama_load_mode_from_str(const char *str);

// The parameters to start from.
LLAMA_API struct llama_model_params llama_model_default_params(void);

// A model from metadata alone; `set_tensor_data` fills every tensor. NULL on failure.
LLAMA_API
struct llama_model *llama_model_init_from_user(struct gguf_context *metadata,
                                               llama_model_set_tensor_data_t set_tensor_data,
                                               void *set_tensor_data_ud,
                                               struct llama_model_params params);

// Old name of `llama_model_load_from_file`.
LLAMA_API
LLAMA_DEPRECATED("use llama_model_load_from_file instead")
struct llama_model *llama_load_model_from_file(const char *path_model,
                                               struct llama_model_params params);

// Loads a GGUF file. Of a split file (`NAME-00001-of-00003.gguf`) give any part. NULL on failure, with one log line that says why.
LLAMA_API struct llama_model *llama_model_load_from_file(const char *path_model, struct llama_model_params params);

// Loads a GGUF that starts at the file's current position. NULL on failure.
LLAMA_API struct llama_model *llama_model_load_from_file_ptr(FILE *file, struct llama_model_params params);

// Loads a split file whose parts have any names, given in order. NULL on failure.
LLAMA_API struct llama_model *llama_model_load_from_splits(const char **paths, size_t n_paths, struct llama_model_params params);

// Writes the model as a GGUF file.
LLAMA_API void llama_model_save_to_file(const struct llama_model *model, const char *path_model);

// Old name of `llama_model_free`.
LLAMA_API LLAMA_DEPRECATED("use llama_model_free instead") void llama_free_model(struct llama_model *model);

// Frees a model. Its contexts must be freed before, its adapters go with it.
LLAMA_API void llama_model_free(struct llama_model *model);

// Old name of `llama_model_n_ctx_train`.
LLAMA_API LLAMA_DEPRECATED("use llama_model_n_ctx_train instead") int32_t llama_n_ctx_train(const struct llama_model *model);

// Old name of `llama_model_n_embd`.
LLAMA_API LLAMA_DEPRECATED("use llama_model_n_embd instead") int32_t llama_n_embd(const struct llama_model *model);

// Old name of `llama_model_n_layer`.
LLAMA_API LLAMA_DEPRECATED("use llama_model_n_layer instead") int32_t llama_n_layer(const struct llama_model *model);

// Old name of `llama_model_n_head`.
LLAMA_API LLAMA_DEPRECATED("use llama_model_n_head instead") int32_t llama_n_head(const struct llama_model *model);

// The model's tokenizer; lives as long as the model.
LLAMA_API const struct llama_vocab *llama_model_get_vocab(const struct llama_model *model);

// How the model turns positions into rotations.
LLAMA_API enum llama_rope_type llama_model_rope_type(const struct llama_model *model);

// Tokens of context the model was trained with.
LLAMA_API int32_t llama_model_n_ctx_train(const struct llama_model *model);

// Width of a hidden state.
LLAMA_API int32_t llama_model_n_embd(const struct llama_model *model);

// Floats in one row of `llama_batch.embd`.
LLAMA_API int32_t llama_model_n_embd_inp(const struct llama_model *model);

// Floats in one embedding.
LLAMA_API int32_t llama_model_n_embd_out(const struct llama_model *model);

// Layers.
LLAMA_API int32_t llama_model_n_layer(const struct llama_model *model);

// Layers for multi-token prediction.
LLAMA_API int32_t llama_model_n_layer_nextn(const struct llama_model *model);

// Attention heads, of the first layer.
LLAMA_API int32_t llama_model_n_head(const struct llama_model *model);

// Heads of the KV store, of the first layer.
LLAMA_API int32_t llama_model_n_head_kv(const struct llama_model *model);

// Positions a windowed layer sees; 0 where no layer has a window.
LLAMA_API int32_t llama_model_n_swa(const struct llama_model *model);

// The RoPE frequency factor the model was trained with.
LLAMA_API float llama_model_rope_freq_scale_train(const struct llama_model *model);

// Outputs of a classifier.
LLAMA_API uint32_t llama_model_n_cls_out(const struct llama_model *model);

// The name of a classifier's output; NULL where it has none.
LLAMA_API const char *llama_model_cls_label(const struct llama_model *model, uint32_t i);

// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer. Arrays are not shown.
LLAMA_API int32_t llama_model_meta_val_str(const struct llama_model *model, const char *key, char *buf, size_t buf_size);

// How many metadata keys there are, arrays left out.
LLAMA_API int32_t llama_model_meta_count(const struct llama_model *model);

// The metadata key of a recommended sampling setting; NULL where there is none.
LLAMA_API const char *llama_model_meta_key_str(enum llama_model_meta_key key);

// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
LLAMA_API int32_t llama_model_meta_key_by_index(const struct llama_model *model, int32_t i, char *buf, size_t buf_size);

// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
LLAMA_API int32_t llama_model_meta_val_str_by_index(const struct llama_model *model, int32_t i, char *buf, size_t buf_size);

// Writes a short description, like "llama 1B Q4_K - Medium". The length of the whole text.
LLAMA_API int32_t llama_model_desc(const struct llama_model *model, char *buf, size_t buf_size);

// The file type.
LLAMA_API enum llama_ftype llama_model_ftype(const struct llama_model *model);

// Bytes of all tensors.
LLAMA_API uint64_t llama_model_size(const struct llama_model *model);

// A chat template of the file, the default one for NULL; NULL where there is none.
LLAMA_API const char *llama_model_chat_template(const struct llama_model *model, const char *name);

// Parameters of all tensors.
LLAMA_API uint64_t llama_model_n_params(const struct llama_model *model);

// Whether `llama_encode` is to be called first.
LLAMA_API bool llama_model_has_encoder(const struct llama_model *model);

// Whether `llama_decode` is of use.
LLAMA_API bool llama_model_has_decoder(const struct llama_model *model);

// The token that an encoder-decoder's answer starts with; -1 for other models.
LLAMA_API llama_token llama_model_decoder_start_token(const struct llama_model *model);

// Whether the state of a sequence has a fixed size (Mamba, RWKV).
LLAMA_API bool llama_model_is_recurrent(const struct llama_model *model);

// Whether recurrent layers and attention are mixed.
LLAMA_API bool llama_model_is_hybrid(const struct llama_model *model);

// Whether the model fills in masked tokens instead of writing on.
LLAMA_API bool llama_model_is_diffusion(const struct llama_model *model);

// The parameters to start from.
LLAMA_API struct llama_model_quantize_params llama_model_quantize_default_params(void);

// Writes a model file with other tensor types. 0 on success.
LLAMA_API uint32_t llama_model_quantize(const char *fname_inp, const char *fname_out, const struct llama_model_quantize_params *params);

// Writes the name of part `split_no` (from 0): PREFIX-00001-of-00004.gguf. Its length, or 0 where it does not fit.
LLAMA_API int32_t llama_split_path(char *split_path, size_t maxlen, const char *path_prefix, int32_t split_no, int32_t split_count);

// Writes what comes before the part number. Its length, or 0 where the path is not that part of that many.
LLAMA_API int32_t llama_split_prefix(char *split_prefix, size_t maxlen, const char *split_path, int32_t split_no, int32_t split_count);

// Loads a LoRA adapter; it lives at most as long as the model. NULL on failure, with one log line that says why.
LLAMA_API struct llama_adapter_lora *llama_adapter_lora_init(struct llama_model * model, const char *path_lora);

// Loads a LoRA adapter that starts at the file's current position. NULL on failure, with one log line that says why.
LLAMA_API struct llama_adapter_lora *llama_adapter_lora_init_from_file_ptr(struct llama_model * model, FILE *file);

// Writes the value of a metadata key as text. The length of the whole text, or -1 and an empty buffer.
LLAMA_API int32_t llama_adapter_meta_val_str(const struct llama_adapter_lora *adapter, const char *key, char *buf, size_t buf_size);

// How many metadata keys there are, arrays left out.
LLAMA_API int32_t llama_adapter_meta_count(const struct llama_adapter_lora *adapter);

// Writes the name of the i-th key. The length of the whole text, or -1 and an empty buffer.
LLAMA_API int32_t llama_adapter_meta_key_by_index(const struct llama_adapter_lora *adapter, int32_t i, char *buf, size_t buf_size);

// Writes the value of the i-th key as text. The length of the whole text, or -1 and an empty buffer.
LLAMA_API int32_t llama_adapter_meta_val_str_by_index(const struct llama_adapter_lora *adapter, int32_t i, char *buf, size_t buf_size);

// Frees an adapter before its model is freed. NULL is nothing; a second time is a log line.
LLAMA_API void llama_adapter_lora_free(struct llama_adapter_lora *adapter);

// How many tokens switch an activated LoRA on.
LLAMA_API uint64_t llama_adapter_get_alora_n_invocation_tokens(const struct llama_adapter_lora *adapter);

// The tokens that switch an activated LoRA on, as long as it lives; NULL for other adapters.
LLAMA_API const llama_token *llama_adapter_get_alora_invocation_tokens(const struct llama_adapter_lora *adapter);

// Uses these adapters from now on, each with its scale, and no others; scale 0 leaves one out. 0 on success; -1 changes nothing.
LLAMA_API
int32_t llama_set_adapters_lora(struct llama_context * ctx,
                                struct llama_adapter_lora **adapters,
                                size_t n_adapters,
                                float *scales);

// Adds a control vector to the layers `il_start..=il_end`: rows of n_embd floats from layer 1 on; NULL removes it. 0 on success.
LLAMA_API
int32_t llama_set_adapter_cvec(struct llama_context * ctx,
                               const float *data,
                               size_t len,
                               int32_t n_embd,
                               int32_t il_start,
                               int32_t il_end);

// The parameters to start from.
LLAMA_API struct llama_context_params llama_context_default_params(void);

// Makes a context. NULL on failure, with one log line that says why.
LLAMA_API struct llama_context *llama_init_from_model(struct llama_model * model, struct llama_context_params params);

// Old name of `llama_init_from_model`.
LLAMA_API
LLAMA_DEPRECATED("use llama_init_from_model instead")
struct llama_context *llama_new_context_with_model(struct llama_model * model,
                                                   struct llama_context_params params);

// Frees a context.
LLAMA_API void llama_free(struct llama_context *ctx);

// Cells of the KV store, over all sequences.
LLAMA_API uint32_t llama_n_ctx(const struct llama_context *ctx);

// Cells that one sequence can use.
LLAMA_API uint32_t llama_n_ctx_seq(const struct llama_context *ctx);

// Most tokens in one `llama_decode`.
LLAMA_API uint32_t llama_n_batch(const struct llama_context *ctx);

// Most tokens computed at once.
LLAMA_API uint32_t llama_n_ubatch(const struct llama_context *ctx);

// Most sequences.
LLAMA_API uint32_t llama_n_seq_max(const struct llama_context *ctx);

// Snapshots of recurrent state per sequence.
LLAMA_API uint32_t llama_n_rs_seq(const struct llama_context *ctx);

// The context's model.
LLAMA_API const struct llama_model *llama_get_model(const struct llama_context *ctx);

// The context's KV store; lives as long as the context. NULL for models that keep nothing (encoders, diffusion models).
LLAMA_API llama_memory_t llama_get_memory(const struct llama_context *ctx);

// How embeddings of a sequence become one.
LLAMA_API enum llama_pooling_type llama_pooling_type(const struct llama_context *ctx);

// Runs the encoder over a batch, all of it at once (`n_ubatch`). 0 on success, 2 when aborted, negative on failure; the memory is as before.
LLAMA_API
int32_t llama_encode(struct llama_context * ctx,
                     struct llama_batch batch);

// Runs the decoder over a batch.
// 0: done
// 1: no room in the KV store; the memory is as before
// 2: aborted; the ubatches that were finished stay
// -1: a bad batch; the memory is as before
// Contexts without a memory encode instead.
// below -1: failed; the ubatches that were finished stay, `llama_memory_seq_pos_max` tells how far
LLAMA_API int32_t llama_decode(struct llama_context * ctx, struct llama_batch batch);

// Threads for single tokens and for prompts.
LLAMA_API void llama_set_n_threads(struct llama_context * ctx, int32_t n_threads, int32_t n_threads_batch);

// Threads for single tokens.
LLAMA_API int32_t llama_n_threads(struct llama_context * ctx);

// Threads for prompts.
LLAMA_API int32_t llama_n_threads_batch(struct llama_context * ctx);

// Whether embeddings are kept too.
LLAMA_API void llama_set_embeddings(struct llama_context * ctx, bool embeddings);

// Whether a token sees only what comes before it.
LLAMA_API void llama_set_causal_attn(struct llama_context * ctx, bool causal_attn);

// Whether a token sees only what comes before it.
LLAMA_API bool llama_get_causal_attn(const struct llama_context *ctx);

// Has no effect.
LLAMA_API
LLAMA_DEPRECATED("user code should do warmup runs manually [TAG_LLAMA_GRAPH_NO_WARMUP]")
void llama_set_warmup(struct llama_context * ctx,
                      bool _warmup);

// `true` from this callback stops a running `llama_decode`, which then returns 2.
LLAMA_API void llama_set_abort_callback(struct llama_context * ctx, ggml_abort_callback abort_callback, void *abort_callback_data);

// Waits until everything is computed. The getters of outputs do so by themselves.
LLAMA_API void llama_synchronize(struct llama_context * ctx);

// Empties the store; with `data` the bytes too.
LLAMA_API void llama_memory_clear(llama_memory_t mem, bool data);

// Removes positions [p0, p1) of a sequence; negative p0: from the start, negative p1: to the end, negative seq_id: of all sequences.
// false: this part cannot be removed (a window or a recurrent state has lost what comes before); nothing has changed.
LLAMA_API bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1);

// Makes positions [p0, p1) of one sequence part of another too.
LLAMA_API void llama_memory_seq_cp(llama_memory_t mem, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1);

// Removes all other sequences.
LLAMA_API void llama_memory_seq_keep(llama_memory_t mem, llama_seq_id seq_id);

// Moves positions [p0, p1) by delta.
LLAMA_API void llama_memory_seq_add(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta);

// Divides positions [p0, p1) by d > 1.
LLAMA_API void llama_memory_seq_div(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d);

// The smallest position from which on all are present; -1 for an empty sequence.
LLAMA_API llama_pos llama_memory_seq_pos_min(llama_memory_t mem, llama_seq_id seq_id);

// The largest position; -1 for an empty sequence.
LLAMA_API llama_pos llama_memory_seq_pos_max(llama_memory_t mem, llama_seq_id seq_id);

// Whether `llama_memory_seq_add` works.
LLAMA_API bool llama_memory_can_shift(llama_memory_t mem);

// Bytes that `llama_state_get_data` writes now.
LLAMA_API size_t llama_state_get_size(struct llama_context * ctx);

// Old name of `llama_state_get_size`.
LLAMA_API LLAMA_DEPRECATED("use llama_state_get_size instead") size_t llama_get_state_size(struct llama_context * ctx);

// Writes the state. The bytes written, or 0 on failure.
LLAMA_API size_t llama_state_get_data(struct llama_context * ctx, uint8_t *dst, size_t size);

// Old name of `llama_state_get_data`.
LLAMA_API LLAMA_DEPRECATED("use llama_state_get_data instead") size_t llama_copy_state_data(struct llama_context * ctx, uint8_t *dst);

// Restores a state. The bytes read, or 0 on failure, and then nothing has changed.
LLAMA_API size_t llama_state_set_data(struct llama_context * ctx, const uint8_t *src, size_t size);

// Old name of `llama_state_set_data`.
LLAMA_API LLAMA_DEPRECATED("use llama_state_set_data instead") size_t llama_set_state_data(struct llama_context * ctx, const uint8_t *src);

// Restores a session file and the tokens it was saved with. false on failure, and then nothing has changed.
LLAMA_API
bool llama_state_load_file(struct llama_context * ctx,
                           const char *path_session,
                           llama_token *tokens_out,
                           size_t n_token_capacity,
                           size_t *n_token_count_out);

// Old name of `llama_state_load_file`.
LLAMA_API
LLAMA_DEPRECATED("use llama_state_load_file instead")
bool llama_load_session_file(struct llama_context * ctx,
                             const char *path_session,
                             llama_token *tokens_out,
                             size_t n_token_capacity,
                             size_t *n_token_count_out);

// Saves a session file with these tokens.
LLAMA_API bool llama_state_save_file(struct llama_context * ctx, const char *path_session, const llama_token *tokens, size_t n_token_count);

// Old name of `llama_state_save_file`.
LLAMA_API
LLAMA_DEPRECATED("use llama_state_save_file instead")
bool llama_save_session_file(struct llama_context * ctx,
                             const char *path_session,
                             const llama_token *tokens,
                             size_t n_token_count);

// Bytes that `llama_state_seq_get_data` writes now.
LLAMA_API size_t llama_state_seq_get_size(struct llama_context * ctx, llama_seq_id seq_id);

// Writes the state of one sequence. The bytes written, or 0 on failure.
LLAMA_API size_t llama_state_seq_get_data(struct llama_context * ctx, uint8_t *dst, size_t size, llama_seq_id seq_id);

// Restores a state into a sequence. The bytes read, or 0 on failure, and then nothing has changed.
LLAMA_API size_t llama_state_seq_set_data(struct llama_context * ctx, const uint8_t *src, size_t size, llama_seq_id dest_seq_id);

// Saves one sequence with these tokens. The bytes written, or 0 on failure.
LLAMA_API
size_t llama_state_seq_save_file(struct llama_context * ctx,
                                 const char *filepath,
                                 llama_seq_id seq_id,
                                 const llama_token *tokens,
                                 size_t n_token_count);

// Restores a sequence file. The bytes read, or 0 on failure, and then nothing has changed.
// tokens_out NULL: only the number of tokens is reported.
LLAMA_API
size_t llama_state_seq_load_file(struct llama_context * ctx,
                                 const char *filepath,
                                 llama_seq_id dest_seq_id,
                                 llama_token *tokens_out,
                                 size_t n_token_capacity,
                                 size_t *n_token_count_out);

// `llama_state_seq_get_size` with `LLAMA_STATE_SEQ_FLAGS_*`.
LLAMA_API size_t llama_state_seq_get_size_ext(struct llama_context * ctx, llama_seq_id seq_id, llama_state_seq_flags flags);

// `llama_state_seq_get_data` with `LLAMA_STATE_SEQ_FLAGS_*`.
LLAMA_API
size_t llama_state_seq_get_data_ext(struct llama_context * ctx,
                                    uint8_t *dst,
                                    size_t size,
                                    llama_seq_id seq_id,
                                    llama_state_seq_flags flags);

// `llama_state_seq_set_data` with `LLAMA_STATE_SEQ_FLAGS_*`.
LLAMA_API
size_t llama_state_seq_set_data_ext(struct llama_context * ctx,
                                    const uint8_t *src,
                                    size_t size,
                                    llama_seq_id dest_seq_id,
                                    llama_state_seq_flags flags);

// A batch of one sequence that goes on where it ended. It borrows `tokens` and must not be freed.
LLAMA_API struct llama_batch llama_batch_get_one(llama_token *tokens, int32_t n_tokens);

// A batch with room for n_tokens tokens of up to n_seq_max sequences each; with `embd` floats per token instead of ids where embd is not 0.
// All pointers are NULL where there is no memory.
LLAMA_API struct llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max);

// Frees a batch made by `llama_batch_init`.
LLAMA_API void llama_batch_free(struct llama_batch batch);

// An empty batch for this context; room for n_batch tokens. NULL on failure.
LLAMA_API struct llama_batch_ext *llama_batch_ext_init(struct llama_context * ctx);

// Frees a batch.
LLAMA_API void llama_batch_ext_free(struct llama_batch_ext *batch);

// Empties a batch.
LLAMA_API void llama_batch_ext_clear(struct llama_batch_ext * batch);

// Adds a token without id, embedding or position. Its index, or -1: full, -2: bad token, -3: bad sequence.
LLAMA_API int32_t llama_batch_ext_add(struct llama_batch_ext * batch, llama_seq_id seq_id);

// Adds a token id. Its index, or -1: full, -2: bad token, -3: bad sequence.
LLAMA_API int32_t llama_batch_ext_add_token(struct llama_batch_ext * batch, llama_seq_id seq_id, llama_token id);

// Adds an embedding. Its index, or -1: full, -2: bad embedding, -3: bad sequence.
LLAMA_API int32_t llama_batch_ext_add_embd(struct llama_batch_ext * batch, llama_seq_id seq_id, struct llama_embd embd);

// Puts a token into one more sequence, at the same position.
LLAMA_API bool llama_batch_ext_add_seq(struct llama_batch_ext * batch, int32_t idx, llama_seq_id seq_id);

// Gives a token an embedding beside its id.
LLAMA_API bool llama_batch_ext_set_embd_token(struct llama_batch_ext * batch, int32_t idx, struct llama_embd embd);

// Gives a token hidden states of an earlier stage (MTP, deepstack). false: llama.h has this function before anything takes such states;
// deepstack rows go into the embedding itself, behind the token's (`llama_model_n_embd_inp`).
LLAMA_API bool llama_batch_ext_set_embd_state(struct llama_batch_ext * batch, int32_t idx, struct llama_embd embd);

// Whether this token's embedding is wanted; its logits are then too.
LLAMA_API bool llama_batch_ext_set_output_embd(struct llama_batch_ext * batch, int32_t idx, bool value);

// Whether this token's logits are wanted; its embedding is then too.
LLAMA_API bool llama_batch_ext_set_output_logits(struct llama_batch_ext * batch, int32_t idx, bool value);

// Sets a token's position; several numbers for M-RoPE embeddings.
LLAMA_API bool llama_batch_ext_set_pos(struct llama_batch_ext * batch, int32_t idx, const llama_pos *pos);

// Runs the encoder or the decoder over a batch. Returns what `llama_encode` and `llama_decode` return; -1 where `type` is neither.
LLAMA_API int32_t llama_process(struct llama_context * ctx, enum llama_process_type type, struct llama_batch_ext * batch);

// Logits of the last decode: a row of n_vocab floats per wanted token, in batch order. NULL where there are none.
LLAMA_API float *llama_get_logits(struct llama_context * ctx);

// Logits of the i-th token of the batch; -1 is the last wanted one. NULL where there are none.
LLAMA_API float *llama_get_logits_ith(struct llama_context * ctx, int32_t i);

// Embeddings of the last decode: a row per wanted token, in batch order. NULL where there are none or they are pooled.
LLAMA_API float *llama_get_embeddings(struct llama_context * ctx);

// Embedding of the i-th token of the batch; -1 is the last wanted one. NULL where there is none.
LLAMA_API float *llama_get_embeddings_ith(struct llama_context * ctx, int32_t i);

// Pooled embedding of a sequence, or n_cls_out scores of a reranker. NULL where there is none.
LLAMA_API float *llama_get_embeddings_seq(struct llama_context * ctx, llama_seq_id seq_id);

// The token that the sequence's chain picked for the i-th token of the batch; LLAMA_TOKEN_NULL where there is none.
LLAMA_API llama_token llama_get_sampled_token_ith(struct llama_context * ctx, int32_t i);

// The probabilities of that pick; NULL where there are none.
LLAMA_API float *llama_get_sampled_probs_ith(struct llama_context * ctx, int32_t i);

// How many probabilities there are.
LLAMA_API uint32_t llama_get_sampled_probs_count_ith(struct llama_context * ctx, int32_t i);

// The logits of that pick; NULL where there are none.
LLAMA_API float *llama_get_sampled_logits_ith(struct llama_context * ctx, int32_t i);

// How many logits there are; n_vocab where no chain runs with this context.
LLAMA_API uint32_t llama_get_sampled_logits_count_ith(struct llama_context * ctx, int32_t i);

// The tokens these probabilities and logits belong to; all tokens in order where a chain made no choice among them.
LLAMA_API llama_token *llama_get_sampled_candidates_ith(struct llama_context * ctx, int32_t i);

// How many candidates there are.
LLAMA_API uint32_t llama_get_sampled_candidates_count_ith(struct llama_context * ctx, int32_t i);

// The kind of tokenizer.
LLAMA_API enum llama_vocab_type llama_vocab_type(const struct llama_vocab *vocab);

// How many tokens there are.
LLAMA_API int32_t llama_vocab_n_tokens(const struct llama_vocab *vocab);

// Old name of `llama_vocab_n_tokens`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_n_tokens instead") int32_t llama_n_vocab(const struct llama_vocab *vocab);

// The token as the file spells it; NULL for a token that does not exist.
LLAMA_API const char *llama_vocab_get_text(const struct llama_vocab *vocab, llama_token token);

// The token's score.
LLAMA_API float llama_vocab_get_score(const struct llama_vocab *vocab, llama_token token);

// The token's attributes.
LLAMA_API enum llama_token_attr llama_vocab_get_attr(const struct llama_vocab *vocab, llama_token token);

// Whether generation ends at this token.
LLAMA_API bool llama_vocab_is_eog(const struct llama_vocab *vocab, llama_token token);

// Whether this token is not text.
LLAMA_API bool llama_vocab_is_control(const struct llama_vocab *vocab, llama_token token);

// Beginning of sentence; LLAMA_TOKEN_NULL where there is none, here and below.
LLAMA_API llama_token llama_vocab_bos(const struct llama_vocab *vocab);

// End of sentence.
LLAMA_API llama_token llama_vocab_eos(const struct llama_vocab *vocab);

// End of turn.
LLAMA_API llama_token llama_vocab_eot(const struct llama_vocab *vocab);

// Sentence separator.
LLAMA_API llama_token llama_vocab_sep(const struct llama_vocab *vocab);

// Line feed.
LLAMA_API llama_token llama_vocab_nl(const struct llama_vocab *vocab);

// Padding.
LLAMA_API llama_token llama_vocab_pad(const struct llama_vocab *vocab);

// Mask.
LLAMA_API llama_token llama_vocab_mask(const struct llama_vocab *vocab);

// Whether `llama_tokenize` puts the beginning-of-sentence token first.
LLAMA_API bool llama_vocab_get_add_bos(const struct llama_vocab *vocab);

// Whether `llama_tokenize` puts the end-of-sentence token last.
LLAMA_API bool llama_vocab_get_add_eos(const struct llama_vocab *vocab);

// Whether `llama_tokenize` puts a separator last.
LLAMA_API bool llama_vocab_get_add_sep(const struct llama_vocab *vocab);

// Tokens that the model should never write; their number goes to n_suppress_tokens.
LLAMA_API const llama_token *llama_vocab_get_suppress_tokens(const struct llama_vocab *vocab, int32_t *n_suppress_tokens);

// Fill in the middle: before the prefix.
LLAMA_API llama_token llama_vocab_fim_pre(const struct llama_vocab *vocab);

// Fill in the middle: before the suffix.
LLAMA_API llama_token llama_vocab_fim_suf(const struct llama_vocab *vocab);

// Fill in the middle: before the middle.
LLAMA_API llama_token llama_vocab_fim_mid(const struct llama_vocab *vocab);

// Fill in the middle: padding.
LLAMA_API llama_token llama_vocab_fim_pad(const struct llama_vocab *vocab);

// Fill in the middle: repository name.
LLAMA_API llama_token llama_vocab_fim_rep(const struct llama_vocab *vocab);

// Fill in the middle: between files.
LLAMA_API llama_token llama_vocab_fim_sep(const struct llama_vocab *vocab);

// The beginning-of-sentence token of classifiers.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_bos instead") llama_token llama_vocab_cls(const struct llama_vocab *vocab);

// Text to tokens. Their number; negative: n_tokens_max is too small and the number would have been its absolute value; INT32_MIN: too many to count.
// add_special: with BOS and EOS where the model asks for them; parse_special: a special token spelled out in the text is that token, not its letters.
LLAMA_API
int32_t llama_tokenize(const struct llama_vocab *vocab,
                       const char *text,
                       int32_t text_len,
                       llama_token *tokens,
                       int32_t n_tokens_max,
                       bool add_special,
                       bool parse_special);

// Writes the text of a token, without NUL, leaving out up to lstrip leading spaces. Its length; negative: length is too small and its absolute value is needed.
// special: control tokens are written too.
LLAMA_API
int32_t llama_token_to_piece(const struct llama_vocab *vocab,
                             llama_token token,
                             char *buf,
                             int32_t length,
                             int32_t lstrip,
                             bool special);

// Tokens to text, without NUL. Its length; negative: text_len_max is too small and its absolute value is needed.
// remove_special: without BOS and EOS; unparse_special: control tokens are written too.
LLAMA_API
int32_t llama_detokenize(const struct llama_vocab *vocab,
                         const llama_token *tokens,
                         int32_t n_tokens,
                         char *text,
                         int32_t text_len_max,
                         bool remove_special,
                         bool unparse_special);

// Old name of `llama_vocab_get_text`.
LLAMA_API
LLAMA_DEPRECATED("use llama_vocab_get_text instead")
const char *llama_token_get_text(const struct llama_vocab *vocab,
                                 llama_token token);

// Old name of `llama_vocab_get_score`.
LLAMA_API
LLAMA_DEPRECATED("use llama_vocab_get_score instead")
float llama_token_get_score(const struct llama_vocab *vocab,
                            llama_token token);

// Old name of `llama_vocab_get_attr`.
LLAMA_API
LLAMA_DEPRECATED("use llama_vocab_get_attr instead")
enum llama_token_attr llama_token_get_attr(const struct llama_vocab *vocab,
                                           llama_token token);

// Old name of `llama_vocab_is_eog`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_is_eog instead") bool llama_token_is_eog(const struct llama_vocab *vocab, llama_token token);

// Old name of `llama_vocab_is_control`.
LLAMA_API
LLAMA_DEPRECATED("use llama_vocab_is_control instead")
bool llama_token_is_control(const struct llama_vocab *vocab,
                            llama_token token);

// Old name of `llama_vocab_bos`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_bos instead") llama_token llama_token_bos(const struct llama_vocab *vocab);

// Old name of `llama_vocab_eos`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_eos instead") llama_token llama_token_eos(const struct llama_vocab *vocab);

// Old name of `llama_vocab_eot`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_eot instead") llama_token llama_token_eot(const struct llama_vocab *vocab);

// Old name of `llama_vocab_cls`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_cls instead") llama_token llama_token_cls(const struct llama_vocab *vocab);

// Old name of `llama_vocab_sep`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_sep instead") llama_token llama_token_sep(const struct llama_vocab *vocab);

// Old name of `llama_vocab_nl`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_nl instead") llama_token llama_token_nl(const struct llama_vocab *vocab);

// Old name of `llama_vocab_pad`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_pad instead") llama_token llama_token_pad(const struct llama_vocab *vocab);

// Old name of `llama_vocab_get_add_bos`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_get_add_bos instead") bool llama_add_bos_token(const struct llama_vocab *vocab);

// Old name of `llama_vocab_get_add_eos`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_get_add_eos instead") bool llama_add_eos_token(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_pre`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_pre instead") llama_token llama_token_fim_pre(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_suf`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_suf instead") llama_token llama_token_fim_suf(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_mid`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_mid instead") llama_token llama_token_fim_mid(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_pad`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_pad instead") llama_token llama_token_fim_pad(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_rep`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_rep instead") llama_token llama_token_fim_rep(const struct llama_vocab *vocab);

// Old name of `llama_vocab_fim_sep`.
LLAMA_API LLAMA_DEPRECATED("use llama_vocab_fim_sep instead") llama_token llama_token_fim_sep(const struct llama_vocab *vocab);

// Writes a chat as one prompt, without NUL. tmpl is a template of the built-in kinds (recognised by its text) or the name of one; NULL: ChatML.
// The length of the whole prompt, which may be more than `length`; negative where the template is not known.
LLAMA_API
int32_t llama_chat_apply_template(const char *tmpl,
                                  const struct llama_chat_message *chat,
                                  size_t n_msg,
                                  bool add_ass,
                                  char *buf,
                                  int32_t length);

// Names of the built-in templates, up to len of them. How many there are.
LLAMA_API int32_t llama_chat_builtin_templates(const char **output, size_t len);

// Runs a chain where the model runs, for one sequence; NULL removes it. false where that is not possible.
LLAMA_API bool llama_set_sampler(struct llama_context * ctx, llama_seq_id seq_id, struct llama_sampler *smpl);

// A sampler with the caller's functions and state.
LLAMA_API struct llama_sampler *llama_sampler_init(struct llama_sampler_i *iface, llama_sampler_context_t ctx);

// The sampler's name.
LLAMA_API const char *llama_sampler_name(const struct llama_sampler *smpl);

// Tells the sampler which token was taken.
LLAMA_API void llama_sampler_accept(struct llama_sampler *smpl, llama_token token);

// Lets the sampler work on candidates.
LLAMA_API void llama_sampler_apply(struct llama_sampler *smpl, struct llama_token_data_array *cur_p);

// Forgets everything accepted.
LLAMA_API void llama_sampler_reset(struct llama_sampler *smpl);

// A copy with its own state; NULL where the sampler cannot be copied.
LLAMA_API struct llama_sampler *llama_sampler_clone(const struct llama_sampler *smpl);

// Takes over the state of another sampler of the same kind.
LLAMA_API void llama_sampler_copy(const struct llama_sampler *src, struct llama_sampler *dst);

// Frees a sampler; not one that was added to a chain.
LLAMA_API void llama_sampler_free(struct llama_sampler *smpl);

// The parameters to start from.
LLAMA_API struct llama_sampler_chain_params llama_sampler_chain_default_params(void);

// An empty chain.
LLAMA_API struct llama_sampler *llama_sampler_chain_init(struct llama_sampler_chain_params params);

// Adds a sampler at the end; the chain owns it from now on.
LLAMA_API void llama_sampler_chain_add(struct llama_sampler *chain, struct llama_sampler *smpl);

// The i-th sampler, still owned by the chain; the chain itself for -1. NULL where there is none or this is not a chain.
LLAMA_API struct llama_sampler *llama_sampler_chain_get(struct llama_sampler *chain, int32_t i);

// How many samplers there are.
LLAMA_API int32_t llama_sampler_chain_n(const struct llama_sampler *chain);

// Takes the i-th sampler out; the caller owns it from now on.
LLAMA_API struct llama_sampler *llama_sampler_chain_remove(struct llama_sampler *chain, int32_t i);

// The seed in use, LLAMA_DEFAULT_SEED where there is none.
LLAMA_API uint32_t llama_sampler_get_seed(const struct llama_sampler *smpl);

// Takes the logits of the idx-th output, applies the sampler, accepts and returns the token it selects; LLAMA_TOKEN_NULL on failure.
LLAMA_API llama_token llama_sampler_sample(struct llama_sampler *smpl, struct llama_context * ctx, int32_t idx);

// The most likely token.
LLAMA_API struct llama_sampler *llama_sampler_init_greedy(void);

// A random token, by probability. LLAMA_DEFAULT_SEED: a random seed.
LLAMA_API struct llama_sampler *llama_sampler_init_dist(uint32_t seed);

// Keeps the k most likely tokens; all of them for k <= 0.
LLAMA_API struct llama_sampler *llama_sampler_init_top_k(int32_t k);

// Keeps the most likely tokens that together have probability p, at least min_keep.
LLAMA_API struct llama_sampler *llama_sampler_init_top_p(float p, size_t min_keep);

// Keeps tokens at least p times as likely as the most likely one, at least min_keep.
LLAMA_API struct llama_sampler *llama_sampler_init_min_p(float p, size_t min_keep);

// Keeps tokens whose surprise is close to the expected one (arXiv 2202.00666), at least min_keep.
LLAMA_API struct llama_sampler *llama_sampler_init_typical(float p, size_t min_keep);

// Divides logits by t; for t <= 0 only the largest is left.
LLAMA_API struct llama_sampler *llama_sampler_init_temp(float t);

// A temperature between t - delta and t + delta, by entropy (arXiv 2309.02772).
LLAMA_API struct llama_sampler *llama_sampler_init_temp_ext(float t, float delta, float exponent);

// With probability p, removes all tokens above t but the least likely of them, at least min_keep stay.
LLAMA_API struct llama_sampler *llama_sampler_init_xtc(float p, float t, size_t min_keep, uint32_t seed);

// Keeps tokens whose logit is within n standard deviations of the largest (arXiv 2411.07641).
LLAMA_API struct llama_sampler *llama_sampler_init_top_n_sigma(float n);

// Keeps the surprise near tau by learning rate eta, estimated from m tokens (arXiv 2007.14966).
LLAMA_API struct llama_sampler *llama_sampler_init_mirostat(int32_t n_vocab, uint32_t seed, float tau, float eta, int32_t m);

// Keeps the surprise near tau by learning rate eta, by truncation (arXiv 2007.14966).
LLAMA_API struct llama_sampler *llama_sampler_init_mirostat_v2(uint32_t seed, float tau, float eta);

// Only what a GBNF grammar allows. NULL where the grammar cannot be read; an empty one allows everything.
LLAMA_API
struct llama_sampler *llama_sampler_init_grammar(const struct llama_vocab *vocab,
                                                 const char *grammar_str,
                                                 const char *grammar_root);

// Old name of `llama_sampler_init_grammar_lazy_patterns`.
LLAMA_API
LLAMA_DEPRECATED("use llama_sampler_init_grammar_lazy_patterns instead")
struct llama_sampler *llama_sampler_init_grammar_lazy(const struct llama_vocab *vocab,
                                                      const char *grammar_str,
                                                      const char *grammar_root,
                                                      const char **trigger_words,
                                                      size_t num_trigger_words,
                                                      const llama_token *trigger_tokens,
                                                      size_t num_trigger_tokens);

// A grammar that starts when the output matches a pattern (it then gets the first group) or has a trigger token.
LLAMA_API
struct llama_sampler *llama_sampler_init_grammar_lazy_patterns(const struct llama_vocab *vocab,
                                                               const char *grammar_str,
                                                               const char *grammar_root,
                                                               const char **trigger_patterns,
                                                               size_t num_trigger_patterns,
                                                               const llama_token *trigger_tokens,
                                                               size_t num_trigger_tokens);

// Makes the last n tokens less likely: repeat divides or multiplies the logit, freq and present are subtracted.
LLAMA_API
struct llama_sampler *llama_sampler_init_penalties(int32_t n_vocab,
                                                   int32_t penalty_last_n,
                                                   float penalty_repeat,
                                                   float penalty_freq,
                                                   float penalty_present);

// Makes repetitions of longer passages less likely (DRY), except across breakers.
LLAMA_API
struct llama_sampler *llama_sampler_init_dry(const struct llama_vocab *vocab,
                                             float dry_multiplier,
                                             float dry_base,
                                             int32_t dry_allowed_length,
                                             int32_t dry_penalty_last_n,
                                             const char **seq_breakers,
                                             size_t num_breakers);

// Prefers tokens near a target probability, corrected by a moving average of what was taken. The last of a chain.
LLAMA_API struct llama_sampler *llama_sampler_init_adaptive_p(float target, float decay, uint32_t seed);

// Adds to the logits of some tokens.
LLAMA_API
struct llama_sampler *llama_sampler_init_logit_bias(int32_t n_vocab,
                                                    int32_t n_logit_bias,
                                                    const struct llama_logit_bias *logit_bias);

// For fill-in-the-middle: joins tokens with the same prefix, ends where ending is likely. After top_k and top_p.
LLAMA_API struct llama_sampler *llama_sampler_init_infill(const struct llama_vocab *vocab);

// Times of a context.
LLAMA_API struct llama_perf_context_data llama_perf_context(const struct llama_context *ctx);

// Logs the times of a context.
LLAMA_API void llama_perf_context_print(const struct llama_context *ctx);

// Starts counting anew.
LLAMA_API void llama_perf_context_reset(struct llama_context * ctx);

// Times of a chain.
LLAMA_API struct llama_perf_sampler_data llama_perf_sampler(const struct llama_sampler *chain);

// Logs the times of a chain.
LLAMA_API void llama_perf_sampler_print(const struct llama_sampler *chain);

// Starts counting anew.
LLAMA_API void llama_perf_sampler_reset(struct llama_sampler *chain);

// A filter that trains everything: always true.
LLAMA_API bool llama_opt_param_filter_all(const struct ggml_tensor *tensor, void *userdata);

// Prepares a context for training.
LLAMA_API void llama_opt_init(struct llama_context * lctx, struct llama_model * model, struct llama_opt_params lopt_params);

// Trains on the data before idata_split and evaluates on the rest.
LLAMA_API
void llama_opt_epoch(struct llama_context * lctx,
                     ggml_opt_dataset_t dataset,
                     ggml_opt_result_t result_train,
                     ggml_opt_result_t result_eval,
                     int64_t idata_split,
                     ggml_opt_epoch_callback callback_train,
                     ggml_opt_epoch_callback callback_eval);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LLAMA_H */
