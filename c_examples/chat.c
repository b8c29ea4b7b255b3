// A conversation: type a line, read the answer, an empty line ends it.
//
//     chat MODEL.gguf [N_CTX] [TEMP]
//
// TEMP 0 always takes the likeliest token (default 0.8: every conversation is another).
// The chat template is the model's own, ChatML where it has none. Each turn feeds only what is new: the KV store keeps the rest.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MESSAGES 512

struct chat {
    const struct llama_vocab *  vocab;
    struct llama_context *      ctx;
    struct llama_sampler *      chain;
    const char *                template_text;
    struct llama_chat_message   messages[MAX_MESSAGES];
    size_t                      n_messages;
    char *                      text; // the whole conversation as the template writes it
    int                         size; // of text
    int                         done; // bytes of it that the model has seen
};

static char * copy(const char * s) {
    char * c = malloc(strlen(s) + 1);
    return c ? strcpy(c, s) : NULL;
}

static int add(struct chat * c, const char * role, const char * content) {
    if (c->n_messages == MAX_MESSAGES) {
        return -1;
    }
    c->messages[c->n_messages].role = role;
    c->messages[c->n_messages].content = copy(content);
    return c->messages[c->n_messages++].content ? 0 : -1;
}

// Writes the conversation into c->text; its length.
static int apply_template(struct chat * c, bool add_assistant) {
    int n = llama_chat_apply_template(c->template_text, c->messages, c->n_messages, add_assistant, c->text, c->size);
    if (n > c->size) {
        char * larger = realloc(c->text, (size_t) n);
        if (!larger) {
            return -1;
        }
        c->text = larger;
        c->size = n;
        n = llama_chat_apply_template(c->template_text, c->messages, c->n_messages, add_assistant, c->text, c->size);
    }
    return n;
}

// Feeds text and streams the answer, which is also put together in `answer`. 0 on success.
static int generate(struct chat * c, const char * text, int len, char * answer, size_t size) {
    bool first = llama_memory_seq_pos_max(llama_get_memory(c->ctx), 0) < 0;
    int n = -llama_tokenize(c->vocab, text, len, NULL, 0, first, true);
    llama_token * tokens = n > 0 ? malloc((size_t) n * sizeof *tokens) : NULL;
    if (!tokens) {
        return -1;
    }
    llama_tokenize(c->vocab, text, len, tokens, n, first, true);

    int status = 0;
    llama_token token;
    size_t used = 0;
    struct llama_batch batch = llama_batch_get_one(tokens, n);
    for (;;) {
        int have = llama_memory_seq_pos_max(llama_get_memory(c->ctx), 0) + 1;
        if (have + batch.n_tokens > (int) llama_n_ctx(c->ctx)) {
            fprintf(stderr, "\nchat: the context is full\n");
            status = -1;
            break;
        }
        if (llama_decode(c->ctx, batch) != 0) {
            fprintf(stderr, "\nchat: decoding failed\n");
            status = -1;
            break;
        }
        token = llama_sampler_sample(c->chain, c->ctx, -1);
        if (llama_vocab_is_eog(c->vocab, token)) {
            break;
        }
        char piece[256];
        int len_piece = llama_token_to_piece(c->vocab, token, piece, sizeof piece, 0, false);
        if (len_piece > 0) {
            fwrite(piece, 1, (size_t) len_piece, stdout);
            fflush(stdout);
            if (used + (size_t) len_piece < size) {
                memcpy(answer + used, piece, (size_t) len_piece);
                used += (size_t) len_piece;
            }
        }
        batch = llama_batch_get_one(&token, 1);
    }
    answer[used] = 0;
    free(tokens);
    return status;
}

static int turn(struct chat * c, const char * line) {
    static char answer[1 << 16];
    if (add(c, "user", line)) {
        return -1;
    }
    int end = apply_template(c, true);
    if (end < 0) {
        fprintf(stderr, "chat: the model's chat template is not known\n");
        return -1;
    }
    if (generate(c, c->text + c->done, end - c->done, answer, sizeof answer)) {
        return -1;
    }
    printf("\n");
    if (add(c, "assistant", answer)) {
        return -1;
    }
    c->done = apply_template(c, false);
    return c->done < 0 ? -1 : 0;
}

int main(int argc, char ** argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s MODEL.gguf [N_CTX] [TEMP]\n", argv[0]);
        return 1;
    }
    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        fprintf(stderr, "chat: cannot load the model\n");
        return 1;
    }
    struct llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = argc > 2 ? (uint32_t) atoi(argv[2]) : 2048;
    cparams.n_batch = cparams.n_ctx;
    struct llama_context * ctx = llama_init_from_model(model, cparams);
    if (!ctx) {
        fprintf(stderr, "chat: cannot make a context\n");
        return 1;
    }

    static struct chat c;
    c.vocab = llama_model_get_vocab(model);
    c.ctx = ctx;
    c.template_text = llama_model_chat_template(model, NULL);
    c.chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(c.chain, llama_sampler_init_min_p(0.05f, 1));
    llama_sampler_chain_add(c.chain, llama_sampler_init_temp(argc > 3 ? (float) atof(argv[3]) : 0.8f));
    llama_sampler_chain_add(c.chain, llama_sampler_init_dist(LLAMA_DEFAULT_SEED));

    char line[4096];
    while (printf("> "), fflush(stdout), fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!line[0] || turn(&c, line)) {
            break;
        }
    }

    for (size_t i = 0; i < c.n_messages; i++) {
        free((char *) c.messages[i].content);
    }
    free(c.text);
    llama_sampler_free(c.chain);
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
