// Answers that a program can read: sampling goes only where a grammar in GBNF allows.
//
//     grammar MODEL.gguf GRAMMAR PROMPT [N]
//
// GRAMMAR is the text itself, e.g. 'root ::= "Yes" | "No"'.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char * what) {
    fprintf(stderr, "grammar: %s\n", what);
    return 1;
}

int main(int argc, char ** argv) {
    if (argc < 4) return fail("MODEL.gguf GRAMMAR PROMPT [N]");
    int n = argc > 4 ? atoi(argv[4]) : 64;

    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return fail("no model");
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    struct llama_context * ctx = llama_init_from_model(model, llama_context_default_params());
    if (!ctx) return fail("no context");

    struct llama_sampler * rules = llama_sampler_init_grammar(vocab, argv[2], "root");
    if (!rules) return fail("the grammar cannot be read");
    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    llama_sampler_chain_add(chain, rules);
    llama_sampler_chain_add(chain, llama_sampler_init_greedy());

    int len = (int) strlen(argv[3]);
    llama_token * prompt = malloc((size_t) (len + 2) * sizeof *prompt);
    int n_prompt = llama_tokenize(vocab, argv[3], len, prompt, len + 2, true, true);
    if (n_prompt < 1) return fail("no prompt");

    struct llama_batch batch = llama_batch_get_one(prompt, n_prompt);
    llama_token token;
    for (int i = 0; i < n; i++, batch = llama_batch_get_one(&token, 1)) {
        if (llama_decode(ctx, batch) != 0) return fail("decoding failed");
        token = llama_sampler_sample(chain, ctx, -1); // and accepts it: the grammar has moved on
        if (llama_vocab_is_eog(vocab, token)) break;
        char piece[256];
        int m = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        if (m > 0) fwrite(piece, 1, (size_t) m, stdout);
    }
    putchar('\n');

    free(prompt);
    llama_sampler_free(chain);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
