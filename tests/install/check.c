// What programs do with libggml.so.0: types, tensors as data, buffers, devices, files, the log.
#include "ggml-alloc.h"
#include "ggml-cpu.h"
#include "ggml-opt.h"
#include "gguf.h"
#include "llama.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;
#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); failures++; } } while (0)
#define SAME(a, b) CHECK((a) != NULL && strcmp((a), (b)) == 0)

static int lines = 0;
static void count(enum ggml_log_level level, const char * text, void * user_data) {
    (void) text;
    lines += level == GGML_LOG_LEVEL_ERROR;
    *(int *) user_data += 1;
}

static void types(void) {
    SAME(ggml_type_name(GGML_TYPE_Q4_K), "q4_K");
    CHECK(ggml_blck_size(GGML_TYPE_Q4_K) == 256 && ggml_type_size(GGML_TYPE_Q4_K) == 144);
    CHECK(ggml_row_size(GGML_TYPE_Q8_0, 64) == 68 && ggml_row_size(GGML_TYPE_Q8_0, 65) == 0);
    CHECK(ggml_is_quantized(GGML_TYPE_IQ1_S) && !ggml_is_quantized(GGML_TYPE_BF16));
    SAME(ggml_type_name((enum ggml_type) 4), "none");
    SAME(ggml_op_name(GGML_OP_MUL_MAT), "MUL_MAT");
    CHECK(ggml_fp16_to_fp32(0x3c00) == 1.0f && ggml_fp32_to_fp16(-2.0f) == 0xc000);
    CHECK(ggml_bf16_to_fp32(ggml_fp32_to_bf16(0.5f)) == 0.5f);

    float x[64], y[64];
    for (int i = 0; i < 64; i++) x[i] = sinf((float) i);
    uint8_t q[68];
    CHECK(ggml_quantize_chunk(GGML_TYPE_Q8_0, x, q, 0, 2, 32, NULL) == 68);
    const struct ggml_type_traits * traits = ggml_get_type_traits(GGML_TYPE_Q8_0);
    traits->to_float(q, y, 64);
    for (int i = 0; i < 64; i++) CHECK(fabsf(x[i] - y[i]) < 0.01f);
    CHECK(ggml_validate_row_data(GGML_TYPE_Q8_0, q, sizeof q));
    memset(q, 0xff, sizeof q);
    CHECK(!ggml_validate_row_data(GGML_TYPE_Q8_0, q, sizeof q));
    CHECK(ggml_quantize_requires_imatrix(GGML_TYPE_IQ1_S) && ggml_quantize_chunk(GGML_TYPE_IQ1_S, x, q, 0, 1, 256, NULL) == 0);
}

static void tensors(void) {
    struct ggml_init_params params = { 1 << 20, NULL, false };
    struct ggml_context * ctx = ggml_init(params);
    struct ggml_tensor * a = ggml_format_name(ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 3, 5), "blk.%d.%s", 7, "a");
    struct ggml_tensor * b = ggml_set_name(ggml_new_tensor_1d(ctx, GGML_TYPE_Q4_0, 64), "b");
    CHECK(ggml_new_tensor_1d(ctx, GGML_TYPE_Q4_0, 33) == NULL);
    CHECK(ggml_new_tensor_2d(ctx, GGML_TYPE_F32, INT64_MAX, INT64_MAX) == NULL);
    CHECK(ggml_nelements(a) == 15 && ggml_nbytes(a) == 60 && ggml_n_dims(a) == 2 && ggml_nrows(a) == 5);
    CHECK(ggml_nbytes(b) == 36 && ggml_is_contiguous(b) && ggml_is_vector(b));
    CHECK(ggml_get_first_tensor(ctx) == a && ggml_get_next_tensor(ctx, a) == b && ggml_get_next_tensor(ctx, b) == NULL);
    CHECK(ggml_get_tensor(ctx, "blk.7.a") == a && ggml_get_tensor(ctx, "c") == NULL);
    SAME(ggml_op_desc(a), "NONE");
    int64_t i0, i1;
    ggml_unravel_index(a, 7, &i0, &i1, NULL, NULL);
    CHECK(i0 == 1 && i1 == 2);

    float in[3] = { 1, 2, 3 }, out[3] = { 0 };
    ggml_backend_tensor_set(a, in, 12, sizeof in);
    ggml_backend_tensor_get(a, out, 12, sizeof out);
    CHECK(memcmp(in, out, sizeof in) == 0);
    ggml_backend_tensor_get(a, out, 56, sizeof out); // past the end
    CHECK(memcmp(in, out, sizeof in) == 0);

    struct ggml_tensor * view = ggml_view_tensor(ctx, a);
    CHECK(view->data == a->data && view->view_src == a && ggml_is_view(view));
    ggml_free(ctx);

    params.no_alloc = true;
    ctx = ggml_init(params);
    a = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 5);
    b = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 5);
    CHECK(a->data == NULL);
    ggml_backend_t backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    ggml_backend_buffer_t buffer = ggml_backend_alloc_ctx_tensors(ctx, backend);
    CHECK(ggml_backend_buffer_get_size(buffer) == 64 && (char *) b->data == (char *) a->data + 32 && a->buffer == buffer);
    ggml_backend_buffer_clear(buffer, 1);
    CHECK(((uint8_t *) b->data)[19] == 1);
    ggml_backend_buffer_free(buffer);
    ggml_backend_free(backend);
    ggml_free(ctx);
}

static void devices(void) {
    ggml_backend_load_all();
    CHECK(ggml_backend_dev_count() >= 1 && ggml_backend_dev_get(1000) == NULL);
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    SAME(ggml_backend_dev_name(cpu), "CPU");
    CHECK(ggml_backend_dev_by_name("cpu") == cpu && ggml_backend_dev_by_name("nobody") == NULL);
    size_t free_bytes = 0, total = 0;
    ggml_backend_dev_memory(cpu, &free_bytes, &total);
    CHECK(total > 0 && free_bytes > 0 && free_bytes <= total);
    struct ggml_backend_dev_props props;
    ggml_backend_dev_get_props(cpu, &props);
    CHECK(props.type == GGML_BACKEND_DEVICE_TYPE_CPU && props.caps.buffer_from_host_ptr && props.memory_total == total);
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(cpu);
    CHECK(ggml_backend_reg_by_name("CPU") == reg && ggml_backend_reg_get(0) == reg && ggml_backend_reg_by_name("RPC") == NULL);
    __typeof__(&ggml_threadpool_new) new_pool = (__typeof__(&ggml_threadpool_new)) ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_new");
    struct ggml_threadpool_params p = ggml_threadpool_params_default(3), q;
    ggml_threadpool_params_init(&q, 3);
    CHECK(ggml_threadpool_params_match(&p, &q));
    struct ggml_threadpool * pool = new_pool(&p);
    CHECK(ggml_threadpool_get_n_threads(pool) == 3);
    ggml_threadpool_free(pool);

    ggml_backend_buffer_type_t type = ggml_backend_cpu_buffer_type();
    CHECK(ggml_backend_dev_buffer_type(cpu) == type && ggml_backend_buft_is_host(type) && ggml_backend_buft_get_device(type) == cpu);
    void * memory = aligned_alloc(32, 64);
    ggml_backend_buffer_t buffer = ggml_backend_cpu_buffer_from_ptr(memory, 64);
    CHECK(ggml_backend_buffer_get_base(buffer) == memory && ggml_backend_buffer_is_host(buffer));
    CHECK(ggml_backend_cpu_buffer_from_ptr((char *) memory + 1, 8) == NULL);
    ggml_backend_buffer_free(buffer);
    free(memory);
    CHECK(ggml_opt_dataset_init(GGML_TYPE_F32, GGML_TYPE_F32, 1, 1, 1, 1) == NULL);
    CHECK(ggml_opt_get_default_optimizer_params(NULL).adamw.beta1 == 0.9f);
}

static void write_file(const char * path) {
    struct gguf_context * g = gguf_init_empty();
    const char * words[] = { "one", "", "drei" };
    const int16_t numbers[] = { -1, 2, 3 };
    gguf_set_val_str(g, "general.architecture", "llama");
    gguf_set_val_u32(g, "a", 1);
    gguf_set_val_f64(g, "pi", 3.25);
    gguf_set_val_bool(g, "yes", true);
    gguf_set_arr_str(g, "words", words, 3);
    gguf_set_arr_data(g, "numbers", GGUF_TYPE_INT16, numbers, 3);
    gguf_set_val_u16(g, "a", 65535); // moves to the end
    gguf_set_val_u32(g, "general.alignment", 64);
    gguf_set_val_u32(g, "general.alignment", 65); // refused
    gguf_set_val_u32(g, "", 1);                   // refused
    CHECK(gguf_get_n_kv(g) == 7 && gguf_find_key(g, "a") == 5);

    struct ggml_init_params params = { 1 << 16, NULL, false };
    struct ggml_context * ctx = ggml_init(params);
    struct ggml_tensor * x = ggml_set_name(ggml_new_tensor_2d(ctx, GGML_TYPE_F32, 3, 2), "x");
    struct ggml_tensor * y = ggml_set_name(ggml_new_tensor_1d(ctx, GGML_TYPE_Q8_0, 32), "y");
    for (int i = 0; i < 6; i++) ((float *) x->data)[i] = (float) i;
    memset(y->data, 7, ggml_nbytes(y));
    gguf_add_tensor(g, x);
    gguf_add_tensor(g, y);
    gguf_add_tensor(g, x); // there already
    CHECK(gguf_get_n_tensors(g) == 2 && gguf_get_tensor_offset(g, 1) == 64 && gguf_get_tensor_size(g, 1) == 34);
    CHECK(gguf_write_to_file(g, path, false));
    CHECK(gguf_get_meta_size(g) % 64 == 0);
    gguf_free(g);
    ggml_free(ctx);
}

static void read_back(struct gguf_context * g, struct ggml_context * ctx) {
    CHECK(g != NULL && ctx != NULL);
    if (!g || !ctx) return;
    CHECK(gguf_get_version(g) == 3 && gguf_get_alignment(g) == 64 && gguf_get_data_offset(g) % 64 == 0);
    SAME(gguf_get_val_str(g, gguf_find_key(g, "general.architecture")), "llama");
    CHECK(gguf_get_val_u16(g, gguf_find_key(g, "a")) == 65535 && gguf_get_val_f64(g, gguf_find_key(g, "pi")) == 3.25);
    CHECK(gguf_get_val_bool(g, gguf_find_key(g, "yes")));
    int64_t words = gguf_find_key(g, "words"), numbers = gguf_find_key(g, "numbers");
    CHECK(gguf_get_kv_type(g, words) == GGUF_TYPE_ARRAY && gguf_get_arr_type(g, words) == GGUF_TYPE_STRING && gguf_get_arr_n(g, words) == 3);
    SAME(gguf_get_arr_str(g, words, 2), "drei");
    CHECK(gguf_get_arr_str(g, words, 3) == NULL && gguf_get_arr_data(g, words) == NULL);
    CHECK(((const int16_t *) gguf_get_arr_data(g, numbers))[0] == -1);
    // What is not there, or another type.
    CHECK(gguf_get_val_u32(g, gguf_find_key(g, "pi")) == 0 && gguf_get_val_str(g, numbers) == NULL && gguf_find_key(g, "none") == -1);
    CHECK(gguf_get_key(g, 100) == NULL && gguf_get_kv_type(g, -1) == GGUF_TYPE_COUNT && gguf_get_tensor_name(g, 2) == NULL);
    CHECK(gguf_get_tensor_ne(g, 0)[1] == 2 && gguf_find_tensor(g, "y") == 1 && gguf_get_tensor_type(g, 1) == GGML_TYPE_Q8_0);
    struct ggml_tensor * x = ggml_get_tensor(ctx, "x");
    CHECK(x && ((float *) x->data)[5] == 5.0f);
    SAME(ggml_get_name(ggml_get_first_tensor(ctx)), "GGUF tensor data binary blob");
}

static size_t from_memory(void * userdata, void * output, uint64_t offset, size_t len) {
    memcpy(output, (char *) userdata + offset, len);
    return len;
}

static void files(const char * path) {
    write_file(path);
    struct ggml_context * ctx = NULL;
    struct gguf_init_params params = { false, &ctx };
    struct gguf_context * g = gguf_init_from_file(path, params);
    read_back(g, ctx);
    gguf_free(g);
    ggml_free(ctx);

    FILE * f = fopen(path, "rb");
    g = gguf_init_from_file_ptr(f, params);
    read_back(g, ctx);
    gguf_free(g);
    ggml_free(ctx);
    char bytes[4096];
    rewind(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);

    g = gguf_init_from_callback(from_memory, bytes, 100, n, params);
    read_back(g, ctx);
    gguf_free(g);
    ggml_free(ctx);
    g = gguf_init_from_buffer(bytes, n, params);
    read_back(g, ctx);
    size_t end = gguf_get_data_offset(g) + gguf_get_tensor_offset(g, 1) + gguf_get_tensor_size(g, 1); // zeroes follow
    struct gguf_context * copy = gguf_init_empty();
    gguf_set_kv(copy, g);
    CHECK(gguf_get_n_kv(copy) == 7 && gguf_remove_key(copy, "words") == 3 && gguf_find_key(copy, "words") == -1);
    gguf_free(copy);
    gguf_free(g);
    ggml_free(ctx);

    // A file cut anywhere, or with a byte changed, is read or refused.
    for (size_t i = 0; i < n; i++) {
        g = gguf_init_from_buffer(bytes, i, params);
        CHECK((g == NULL && ctx == NULL) || i >= end);
        if (g) ggml_free(ctx);
        gguf_free(g);
        char was = bytes[i];
        bytes[i] = (char) (was ^ 0xff);
        g = gguf_init_from_buffer(bytes, n, params);
        if (g) ggml_free(ctx);
        gguf_free(g);
        bytes[i] = was;
    }
}

int main(int argc, char ** argv) {
    if (argc != 2) return 2;
    int all = 0;
    llama_log_set(count, &all); // goes on to libggml
    types();
    tensors();
    devices();
    files(argv[1]);
    CHECK(lines > 10 && all >= lines);
    ggml_log_callback callback;
    void * user_data;
    ggml_log_get(&callback, &user_data);
    CHECK(callback == count && user_data == &all);
    if (failures == 0) puts("all as it should be");
    return failures != 0;
}
