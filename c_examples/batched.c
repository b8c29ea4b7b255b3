// Several continuations of one prompt at once: the prompt is computed for sequence 0 and shared with the others.
//
//     batched MODEL.gguf PROMPT [N_SEQ] [N] [TEMP]
//
// Every sequence samples with its own seed (not when TEMP is 0); each decode computes one token of every sequence that goes on.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEQ  16
#define MAX_TEXT 16384

struct stream {
    struct llama_sampler * chain;
    char   text[MAX_TEXT];
    size_t len;
    int    i_batch; // where its logits are; -1: ended
};

static int fail(const char * what) {
    fprintf(stderr, "batched: %s\n", what);
    return 1;
}

static void push(struct llama_batch * b, llama_token token, llama_pos pos, llama_seq_id seq, bool logits) {
    int i = b->n_tokens++;
    b->token[i] = token;
    b->pos[i] = pos;
    b->n_seq_id[i] = 1;
    b->seq_id[i][0] = seq;
    b->logits[i] = logits;
}

static struct llama_sampler * make_chain(int seed, float temp) {
    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, llama_sampler_init_top_k(40));
    llama_sampler_chain_add(chain, llama_sampler_init_top_p(0.9f, 1));
    llama_sampler_chain_add(chain, llama_sampler_init_temp(temp));
    llama_sampler_chain_add(chain, llama_sampler_init_dist((uint32_t) seed));
    return chain;
}

// Samples the next token of every stream and fills the batch with them.
static void step(struct llama_context * ctx, const struct llama_vocab * vocab, struct stream * s, int n_seq, struct llama_batch * b, llama_pos pos) {
    llama_token next[MAX_SEQ];
    for (int i = 0; i < n_seq; i++) {
        next[i] = s[i].i_batch < 0 ? LLAMA_TOKEN_NULL : llama_sampler_sample(s[i].chain, ctx, s[i].i_batch);
    }
    b->n_tokens = 0;
    for (int i = 0; i < n_seq; i++) {
        if (s[i].i_batch < 0 || llama_vocab_is_eog(vocab, next[i])) {
            s[i].i_batch = -1;
            continue;
        }
        int n = llama_token_to_piece(vocab, next[i], s[i].text + s[i].len, (int) (MAX_TEXT - s[i].len), 0, false);
        s[i].len += n > 0 ? (size_t) n : 0;
        s[i].i_batch = b->n_tokens;
        push(b, next[i], pos, i, true);
    }
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT [N_SEQ] [N] [TEMP]\n", argv[0]);
        return 1;
    }
    int n_seq = argc > 3 ? atoi(argv[3]) : 4;
    int n_predict = argc > 4 ? atoi(argv[4]) : 64;
    float temp = argc > 5 ? (float) atof(argv[5]) : 0.7f;
    if (n_seq < 1 || n_seq > MAX_SEQ) {
        return fail("N_SEQ must be 1..16");
    }

    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return fail("cannot load the model");
    }
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    int n_prompt = -llama_tokenize(vocab, argv[2], (int) strlen(argv[2]), NULL, 0, true, true);
    llama_token * prompt = n_prompt > 0 ? malloc((size_t) n_prompt * sizeof *prompt) : NULL;
    if (!prompt) {
        return fail("cannot tokenize the prompt");
    }
    llama_tokenize(vocab, argv[2], (int) strlen(argv[2]), prompt, n_prompt, true, true);

    struct llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = (uint32_t) (n_prompt + n_predict * n_seq);
    cparams.n_batch = (uint32_t) (n_prompt > n_seq ? n_prompt : n_seq);
    cparams.n_seq_max = (uint32_t) n_seq;
    cparams.kv_unified = true; // the prompt is stored once
    struct llama_context * ctx = llama_init_from_model(model, cparams);
    if (!ctx) {
        return fail("cannot make a context");
    }

    struct llama_batch batch = llama_batch_init((int32_t) cparams.n_batch, 0, 1);
    for (int i = 0; i < n_prompt; i++) {
        push(&batch, prompt[i], i, 0, i == n_prompt - 1);
    }
    if (llama_decode(ctx, batch) != 0) {
        return fail("the prompt does not decode");
    }

    static struct stream streams[MAX_SEQ];
    for (int i = 0; i < n_seq; i++) {
        streams[i].chain = make_chain(i + 1, temp);
        streams[i].i_batch = n_prompt - 1;
        if (i > 0) {
            llama_memory_seq_cp(llama_get_memory(ctx), 0, i, -1, -1);
        }
    }
    int status = 0;
    for (int n = 0; n < n_predict; n++) {
        step(ctx, vocab, streams, n_seq, &batch, n_prompt + n);
        if (batch.n_tokens == 0) {
            break;
        }
        if (llama_decode(ctx, batch) != 0) {
            status = fail("decoding failed");
            break;
        }
    }
    for (int i = 0; i < n_seq; i++) {
        printf("--- %d\n%s%.*s\n", i, argv[2], (int) streams[i].len, streams[i].text);
        llama_sampler_free(streams[i].chain);
    }

    llama_batch_free(batch);
    free(prompt);
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    return status;
}
