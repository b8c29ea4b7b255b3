// A smaller model: every tensor gets the type that a kind of file says. Then what is in the new file, read with libggml.
//
//     quantize FROM.gguf TO.gguf [FTYPE]
//
// FTYPE is a number of `enum llama_ftype`: 7 is Q8_0, 15 Q4_K_M (the default), 18 Q6_K.
#include "gguf.h"
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>

static int fail(const char * what) {
    fprintf(stderr, "quantize: %s\n", what);
    return 1;
}

int main(int argc, char ** argv) {
    if (argc < 3) return fail("FROM.gguf TO.gguf [FTYPE]");

    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = argc > 3 ? (enum llama_ftype) atoi(argv[3]) : LLAMA_FTYPE_MOSTLY_Q4_K_M;
    params.allow_requantize = true; // from a quantised file too: worse than from the floats
    if (llama_model_quantize(argv[1], argv[2], &params) != 0) return fail("not done");

    struct gguf_init_params only_header = { /* no_alloc */ true, /* ctx */ NULL };
    struct gguf_context * file = gguf_init_from_file(argv[2], only_header);
    if (!file) return fail("the new file cannot be read");
    size_t bytes[GGML_TYPE_COUNT] = { 0 };
    int    count[GGML_TYPE_COUNT] = { 0 };
    for (int64_t i = 0; i < gguf_get_n_tensors(file); i++) {
        enum ggml_type type = gguf_get_tensor_type(file, i);
        bytes[type] += gguf_get_tensor_size(file, i);
        count[type]++;
    }
    for (int type = 0; type < GGML_TYPE_COUNT; type++) {
        if (count[type]) printf("%-8s %4d tensors, %8.2f MiB\n", ggml_type_name((enum ggml_type) type), count[type], (double) bytes[type] / 1048576);
    }
    gguf_free(file);
    return 0;
}
