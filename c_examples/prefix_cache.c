// Writes on from a prompt, and keeps what the prompt computed on disk: the next run with the same beginning, in any process, reads it instead.
//
//     prefix_cache MODEL.gguf DIR PROMPT [N]
//
// N is the most tokens to write (default 128). stdout has the text, stderr how many tokens of the prompt were read, and how many were computed.
// Needs camelid.h: with the original library there is nothing to link it to.
#include "camelid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t MAX_BYTES = 1ull << 30;

static int fail(const char * what) {
    fprintf(stderr, "prefix_cache: %s: %s\n", what, camelid_last_error());
    return 1;
}

// The prompt's tokens; free() them.
static llama_token * tokenize(const struct llama_vocab * vocab, const char * text, int * n_tokens) {
    int len = (int) strlen(text);
    int n = -llama_tokenize(vocab, text, len, NULL, 0, true, true);
    llama_token * tokens = n > 0 ? malloc((size_t) n * sizeof *tokens) : NULL;
    if (tokens) {
        *n_tokens = llama_tokenize(vocab, text, len, tokens, n, true, true);
    }
    return tokens;
}

// FNV-1a over the bits of all logits that were computed: two runs that print the same number computed the same.
static uint64_t mix(uint64_t hash, const float * logits, int n) {
    const unsigned char * bytes = (const unsigned char *) logits;
    for (size_t i = 0; i < (size_t) n * sizeof *logits; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    }
    return hash;
}

// Computes what the cache did not have of the prompt, and stores it all.
static int prompt(struct camelid_cache * cache, struct llama_context * ctx, llama_token * tokens, int n) {
    int from_disk = camelid_cache_restore(cache, ctx, 0, tokens, n);
    // llama_batch_get_one goes on where the sequence ends.
    if (llama_decode(ctx, llama_batch_get_one(tokens + from_disk, n - from_disk)) != 0) {
        return fail("decoding failed");
    }
    // A prompt too short to keep is no reason to stop.
    bool stored = camelid_cache_store(cache, ctx, 0, tokens, n);
    fprintf(stderr, "%d of %d tokens from disk, %d computed, %s\n", from_disk, n, n - from_disk, stored ? "stored" : "not stored");
    return 0;
}

static int generate(struct llama_context * ctx, const struct llama_vocab * vocab, int n_predict) {
    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, llama_sampler_init_greedy());
    uint64_t hash = 0xcbf29ce484222325ull;
    int status = 0;
    for (int i = 0; i < n_predict && status == 0; i++) {
        hash = mix(hash, llama_get_logits_ith(ctx, -1), llama_vocab_n_tokens(vocab));
        llama_token token = llama_sampler_sample(chain, ctx, -1);
        if (llama_vocab_is_eog(vocab, token)) {
            break;
        }
        char piece[256];
        int n = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        fwrite(piece, 1, n > 0 ? (size_t) n : 0, stdout);
        if (llama_decode(ctx, llama_batch_get_one(&token, 1)) != 0) {
            status = fail("decoding failed");
        }
    }
    printf("\n");
    fprintf(stderr, "logits %016llx\n", (unsigned long long) hash);
    llama_sampler_free(chain);
    return status;
}

int main(int argc, char ** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf DIR PROMPT [N]\n", argv[0]);
        return 1;
    }
    int n_predict = argc > 4 ? atoi(argv[4]) : 128;

    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return fail("cannot load the model");
    }
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    int n_prompt = 0;
    llama_token * tokens = tokenize(vocab, argv[3], &n_prompt);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t) (n_prompt + n_predict);
    params.n_batch = (uint32_t) n_prompt;
    struct llama_context * ctx = tokens ? llama_init_from_model(model, params) : NULL;
    struct camelid_cache * cache = camelid_cache_open(argv[2], MAX_BYTES);

    int status = !ctx || !cache ? fail("cannot begin") : prompt(cache, ctx, tokens, n_prompt);
    if (status == 0) {
        status = generate(ctx, vocab, n_predict);
    }

    camelid_cache_free(cache);
    llama_free(ctx);
    free(tokens);
    llama_model_free(model);
    llama_backend_free();
    return status;
}
