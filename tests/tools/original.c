// The original's libllama.so.0, for tests: its symbols are those of the libraries it needs. What is its own:
//   - it loads their CPU back ends, which lie beside it in files of their own, before anybody can ask for them: the best one for this
//     processor, or that which ORIGINAL_CPU names (x64, haswell ..);
//   - a default of one thread. The original's four spin at their barriers, so that on two busy cores a token takes half a second;
//   - the names that the bindings look for and that came after v0.5.0, so that the bindings load. A test that calls one of these would
//     compare nothing, so they end the process.
#define _GNU_SOURCE
#include "llama.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void load_backends(void) {
    Dl_info self;
    char here[4096], path[8192];
    if (!dladdr((void *) load_backends, &self) || snprintf(here, sizeof here, "%s", self.dli_fname) >= (int) sizeof here) {
        return;
    }
    const char * dir = dirname(here);
    const char * cpu = getenv("ORIGINAL_CPU");
    if (!cpu) {
        ggml_backend_load_all_from_path(dir);
    } else if (snprintf(path, sizeof path, "%s/libggml-cpu-%s.so", dir, cpu) >= (int) sizeof path || !ggml_backend_load(path)) {
        fprintf(stderr, "the original has no back end %s\n", cpu);
        abort();
    }
}

struct llama_context_params llama_context_default_params(void) {
    struct llama_context_params (*of_original)(void) = (struct llama_context_params (*)(void)) dlsym(RTLD_NEXT, "llama_context_default_params");
    struct llama_context_params params = of_original();
    params.n_threads = params.n_threads_batch = 1;
    return params;
}

static void absent(const char * name) {
    fprintf(stderr, "%s: not in the original's v0.5.0\n", name);
    abort();
}

// A second declaration under the same symbol: what they take does not matter.
#define ABSENT(name) void absent_##name(void) __asm__(#name); void absent_##name(void) { absent(#name); }

ABSENT(llama_batch_ext_add)
ABSENT(llama_batch_ext_add_embd)
ABSENT(llama_batch_ext_add_seq)
ABSENT(llama_batch_ext_add_token)
ABSENT(llama_batch_ext_clear)
ABSENT(llama_batch_ext_free)
ABSENT(llama_batch_ext_init)
ABSENT(llama_batch_ext_set_embd_state)
ABSENT(llama_batch_ext_set_embd_token)
ABSENT(llama_batch_ext_set_output_embd)
ABSENT(llama_batch_ext_set_output_logits)
ABSENT(llama_batch_ext_set_pos)
ABSENT(llama_get_causal_attn)
ABSENT(llama_process)
