// Loads a model and writes on from a prompt, piece by piece.
//
//     simple MODEL.gguf PROMPT [N]
//
// N is the most tokens to write (default 128). "\n" in PROMPT is a line break; special tokens may be spelled out.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char * what) {
    fprintf(stderr, "simple: %s\n", what);
    return 1;
}

// "\n" typed in a shell is two characters.
static void unescape(char * s) {
    char * out = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] == 'n') {
            *out++ = '\n';
            s++;
        } else {
            *out++ = *s;
        }
    }
    *out = 0;
}

static void print_token(const struct llama_vocab * vocab, llama_token token) {
    char piece[256];
    int n = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
    if (n > 0) {
        fwrite(piece, 1, (size_t) n, stdout);
        fflush(stdout);
    }
}

// The prompt's tokens; free() them.
static llama_token * tokenize(const struct llama_vocab * vocab, const char * text, int * n_tokens) {
    int len = (int) strlen(text);
    // With room for none, llama_tokenize says how many there are, as a negative number.
    int n = -llama_tokenize(vocab, text, len, NULL, 0, true, true);
    if (n <= 0) {
        return NULL;
    }
    llama_token * tokens = malloc((size_t) n * sizeof *tokens);
    if (tokens) {
        *n_tokens = llama_tokenize(vocab, text, len, tokens, n, true, true);
    }
    return tokens;
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT [N]\n", argv[0]);
        return 1;
    }
    int n_predict = argc > 3 ? atoi(argv[3]) : 128;
    unescape(argv[2]);

    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return fail("cannot load the model");
    }
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    int n_prompt = 0;
    llama_token * prompt = tokenize(vocab, argv[2], &n_prompt);
    if (!prompt) {
        return fail("cannot tokenize the prompt");
    }

    struct llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = (uint32_t) (n_prompt + n_predict);
    cparams.n_batch = (uint32_t) n_prompt;
    cparams.no_perf = false;
    struct llama_context * ctx = llama_init_from_model(model, cparams);
    if (!ctx) {
        return fail("cannot make a context");
    }

    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, llama_sampler_init_greedy());

    int status = 0;
    llama_token token;
    struct llama_batch batch = llama_batch_get_one(prompt, n_prompt);
    for (int i = 0; i < n_predict; i++) {
        if (llama_decode(ctx, batch) != 0) {
            status = fail("decoding failed");
            break;
        }
        token = llama_sampler_sample(chain, ctx, -1);
        if (llama_vocab_is_eog(vocab, token)) {
            break;
        }
        print_token(vocab, token);
        batch = llama_batch_get_one(&token, 1);
    }
    printf("\n");
    llama_perf_context_print(ctx);

    llama_sampler_free(chain);
    llama_free(ctx);
    free(prompt);
    llama_model_free(model);
    llama_backend_free();
    return status;
}
