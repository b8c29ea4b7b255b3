// GGUF files.
// Made from crates/ggml by `cargo xtask headers`: change it there.
//
// Functions with a comment above them are in Camelid's libggml.so.0. The others are declared for programs that bring the original's libggml:
// without it a call of them does not link.
#ifndef GGUF_H
#define GGUF_H

#include "ggml.h"

#define GGUF_MAGIC   "GGUF"
#define GGUF_VERSION 3

#define GGUF_KEY_GENERAL_ALIGNMENT "general.alignment"
#define GGUF_DEFAULT_ALIGNMENT     32

#ifdef __cplusplus
extern "C" {
#endif

enum gguf_type {
    GGUF_TYPE_UINT8 = 0,
    GGUF_TYPE_INT8 = 1,
    GGUF_TYPE_UINT16 = 2,
    GGUF_TYPE_INT16 = 3,
    GGUF_TYPE_UINT32 = 4,
    GGUF_TYPE_INT32 = 5,
    GGUF_TYPE_FLOAT32 = 6,
    GGUF_TYPE_BOOL = 7,
    GGUF_TYPE_STRING = 8,
    GGUF_TYPE_ARRAY = 9,
    GGUF_TYPE_UINT64 = 10,
    GGUF_TYPE_INT64 = 11,
    GGUF_TYPE_FLOAT64 = 12,
    GGUF_TYPE_COUNT = 13,
};

struct gguf_context;

struct gguf_init_params {
    bool no_alloc;
    struct ggml_context **ctx;
};

typedef size_t (*gguf_reader_callback_t)(void *userdata, void *output, uint64_t offset, size_t len);

// A file without key/values and tensors, to be filled.
GGML_API struct gguf_context *gguf_init_empty(void);

// The same for an open file, from where it stands.
GGML_API struct gguf_context *gguf_init_from_file_ptr(FILE *file, struct gguf_init_params params);

// Opens a file; with `params.ctx` also its tensors, without data if `params.no_alloc`. NULL, and a line in the log, where it cannot be read.
GGML_API struct gguf_context *gguf_init_from_file(const char *fname, struct gguf_init_params params);

// The same for a file in memory; it is not used any more when this returns.
GGML_API struct gguf_context *gguf_init_from_buffer(const void *data, size_t size, struct gguf_init_params params);

// The same for a file that `callback` reads, `max_chunk_read` bytes at once (0: any number), `max_expected_size` in all.
GGML_API struct gguf_context *gguf_init_from_callback(
    gguf_reader_callback_t callback,
    void *userdata,
    size_t max_chunk_read,
    uint64_t max_expected_size,
    struct gguf_init_params params);

// NULL: nothing. Tensors that `params.ctx` gave stay.
GGML_API void gguf_free(struct gguf_context *ctx);

// "u32" and the like; NULL for a number that is none.
GGML_API const char *gguf_type_name(enum gguf_type type);

// The format's version; 0 for NULL.
GGML_API uint32_t gguf_get_version(const struct gguf_context *ctx);

// Data of tensors starts at multiples of this.
GGML_API size_t gguf_get_alignment(const struct gguf_context *ctx);

// Where data starts in the file that was read.
GGML_API size_t gguf_get_data_offset(const struct gguf_context *ctx);

// Number of key/values.
GGML_API int64_t gguf_get_n_kv(const struct gguf_context *ctx);

// Where a key is; -1: nowhere.
GGML_API int64_t gguf_find_key(const struct gguf_context *ctx, const char *key);

// NULL where there is no such key, as for all that follows: what is not there, or of another type, is NULL, 0 or false, and a line in the log.
GGML_API const char *gguf_get_key(const struct gguf_context *ctx, int64_t key_id);

// `GGUF_TYPE_COUNT` where there is no such key.
GGML_API enum gguf_type gguf_get_kv_type(const struct gguf_context *ctx, int64_t key_id);

// The type of an array's elements; `GGUF_TYPE_COUNT` where it is no array.
GGML_API enum gguf_type gguf_get_arr_type(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API uint8_t gguf_get_val_u8(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API int8_t gguf_get_val_i8(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API uint16_t gguf_get_val_u16(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API int16_t gguf_get_val_i16(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API uint32_t gguf_get_val_u32(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API int32_t gguf_get_val_i32(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API float gguf_get_val_f32(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API uint64_t gguf_get_val_u64(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API int64_t gguf_get_val_i64(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; 0 for another.
GGML_API double gguf_get_val_f64(const struct gguf_context *ctx, int64_t key_id);

// The value of a key of that type; false for another.
GGML_API bool gguf_get_val_bool(const struct gguf_context *ctx, int64_t key_id);

// A string, up to its first NUL.
GGML_API const char *gguf_get_val_str(const struct gguf_context *ctx, int64_t key_id);

// Where a number is; NULL for strings and arrays.
GGML_API const void *gguf_get_val_data(const struct gguf_context *ctx, int64_t key_id);

// Elements of an array; 0 where it is none.
GGML_API size_t gguf_get_arr_n(const struct gguf_context *ctx, int64_t key_id);

// Where an array of numbers is; NULL for strings. Booleans take a byte each.
GGML_API const void *gguf_get_arr_data(const struct gguf_context *ctx, int64_t key_id);

// String `i` of an array of strings, up to its first NUL.
GGML_API const char *gguf_get_arr_str(const struct gguf_context *ctx, int64_t key_id, size_t i);

// Number of tensors.
GGML_API int64_t gguf_get_n_tensors(const struct gguf_context *ctx);

// Where a tensor is; -1: nowhere.
GGML_API int64_t gguf_find_tensor(const struct gguf_context *ctx, const char *name);

// Where its data is, from the start of all data; 0 where there is no such tensor.
GGML_API size_t gguf_get_tensor_offset(const struct gguf_context *ctx, int64_t tensor_id);

// NULL where there is no such tensor.
GGML_API const char *gguf_get_tensor_name(const struct gguf_context *ctx, int64_t tensor_id);

// Four numbers, 1 beyond its own dimensions; NULL where there is no such tensor.
GGML_API const int64_t *gguf_get_tensor_ne(const struct gguf_context *ctx, int64_t tensor_id);

// `GGML_TYPE_COUNT` where there is no such tensor.
GGML_API enum ggml_type gguf_get_tensor_type(const struct gguf_context *ctx, int64_t tensor_id);

// Its bytes; 0 where there is no such tensor.
GGML_API size_t gguf_get_tensor_size(const struct gguf_context *ctx, int64_t tensor_id);

// Takes a key and its value away. Where it was; -1: nowhere.
GGML_API int64_t gguf_remove_key(struct gguf_context *ctx, const char *key);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_u8(struct gguf_context *ctx, const char *key, uint8_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_i8(struct gguf_context *ctx, const char *key, int8_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_u16(struct gguf_context *ctx, const char *key, uint16_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_i16(struct gguf_context *ctx, const char *key, int16_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_u32(struct gguf_context *ctx, const char *key, uint32_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_i32(struct gguf_context *ctx, const char *key, int32_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_f32(struct gguf_context *ctx, const char *key, float val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_u64(struct gguf_context *ctx, const char *key, uint64_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_i64(struct gguf_context *ctx, const char *key, int64_t val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_f64(struct gguf_context *ctx, const char *key, double val);

// Sets a key, which comes last; one that cannot be leaves everything as it is, with a line in the log.
GGML_API void gguf_set_val_bool(struct gguf_context *ctx, const char *key, bool val);

// Sets a key to a string.
GGML_API void gguf_set_val_str(struct gguf_context *ctx, const char *key, const char *val);

// Sets a key to an array of `n` numbers.
GGML_API void gguf_set_arr_data(struct gguf_context *ctx, const char *key, enum gguf_type type, const void *data, size_t n);

// Sets a key to an array of `n` strings.
GGML_API void gguf_set_arr_str(struct gguf_context *ctx, const char *key, const char **data, size_t n);

// Sets every key that `src` has to its value there.
GGML_API void gguf_set_kv(struct gguf_context *ctx, const struct gguf_context *src);

// Adds a tensor, whose name must be new; its data is read when the file is written.
GGML_API void gguf_add_tensor(struct gguf_context *ctx, const struct ggml_tensor *tensor);

// Sets the type of a tensor; those behind it move.
GGML_API void gguf_set_tensor_type(struct gguf_context *ctx, const char *name, enum ggml_type type);

// Sets where the data of a tensor is.
GGML_API void gguf_set_tensor_data(struct gguf_context *ctx, const char *name, const void *data);

// The same to an open file, from where it stands.
GGML_API bool gguf_write_to_file_ptr(const struct gguf_context *ctx, FILE *file, bool only_meta);

// Writes everything, or all but the data; false, and a line in the log, where that fails.
GGML_API bool gguf_write_to_file(const struct gguf_context *ctx, const char *fname, bool only_meta);

// Bytes of everything but the data, with the zeroes before it; 0 where it cannot be written.
GGML_API size_t gguf_get_meta_size(const struct gguf_context *ctx);

// Writes them to `data`, which has room for them.
GGML_API void gguf_get_meta_data(const struct gguf_context *ctx, void *data);

#ifdef __cplusplus
}
#endif

#endif // GGUF_H
