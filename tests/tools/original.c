// The original's libllama.so.0, for tests: its symbols are those of the libraries it needs. It loads their CPU back ends, which lie
// beside it in files of their own, before anybody can ask for them; and it has the names that the bindings look for and that came
// after v0.5.0, so that the bindings load. A test that calls one of these would compare nothing, so they end the process.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

void ggml_backend_load_all_from_path(const char * dir);

__attribute__((constructor)) static void load_backends(void) {
    Dl_info self;
    char path[4096];
    if (dladdr((void *) load_backends, &self) && snprintf(path, sizeof path, "%s", self.dli_fname) < (int) sizeof path) {
        ggml_backend_load_all_from_path(dirname(path));
    }
}

static void absent(const char * name) {
    fprintf(stderr, "%s: not in the original's v0.5.0\n", name);
    abort();
}

#define ABSENT(name) void name(void) { absent(#name); }

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
