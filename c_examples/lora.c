// One model, two ways of speaking: what it says without an adapter, and with it.
//
//     lora MODEL.gguf ADAPTER.gguf PROMPT [SCALE [N]]
//
// The adapter is a LoRA in GGUF; SCALE (default 1) is how much of it is added. The model's weights stay as they are, so adapters are swapped between
// two texts, and contexts of one model may each have their own.
#include "llama.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char * what) {
    fprintf(stderr, "lora: %s\n", what);
    return 1;
}

// Writes on from the prompt; what was kept of another text goes first, for it was computed with another adapter.
static int say(struct llama_context * ctx, const struct llama_vocab * vocab, llama_token * prompt, int n_prompt, int n) {
    llama_memory_clear(llama_get_memory(ctx), true);
    struct llama_sampler * greedy = llama_sampler_init_greedy();
    struct llama_batch batch = llama_batch_get_one(prompt, n_prompt);
    llama_token token;
    int status = 0;
    for (int i = 0; i < n && status == 0; i++, batch = llama_batch_get_one(&token, 1)) {
        status = llama_decode(ctx, batch);
        if (status != 0) break;
        token = llama_sampler_sample(greedy, ctx, -1);
        if (llama_vocab_is_eog(vocab, token)) break;
        char piece[256];
        int m = llama_token_to_piece(vocab, token, piece, sizeof piece, 0, false);
        if (m > 0) fwrite(piece, 1, (size_t) m, stdout);
    }
    putchar('\n');
    llama_sampler_free(greedy);
    return status;
}

int main(int argc, char ** argv) {
    if (argc < 4) return fail("MODEL.gguf ADAPTER.gguf PROMPT [SCALE [N]]");
    float scale = argc > 4 ? strtof(argv[4], NULL) : 1.0f;
    int n = argc > 5 ? atoi(argv[5]) : 64;

    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return fail("no model");
    const struct llama_vocab * vocab = llama_model_get_vocab(model);
    struct llama_context * ctx = llama_init_from_model(model, llama_context_default_params());
    if (!ctx) return fail("no context");
    struct llama_adapter_lora * adapter = llama_adapter_lora_init(model, argv[2]); // goes with the model
    if (!adapter) return fail("no adapter for this model");

    int len = (int) strlen(argv[3]);
    llama_token * prompt = malloc((size_t) (len + 2) * sizeof *prompt);
    if (!prompt) return fail("no memory");
    int n_prompt = llama_tokenize(vocab, argv[3], len, prompt, len + 2, true, true);
    if (n_prompt < 1) return fail("no prompt");

    printf("without:");
    if (say(ctx, vocab, prompt, n_prompt, n) != 0) return fail("decoding failed");
    if (llama_set_adapters_lora(ctx, &adapter, 1, &scale) != 0) return fail("the adapter is refused");
    printf("with:");
    if (say(ctx, vocab, prompt, n_prompt, n) != 0) return fail("decoding failed");

    free(prompt);
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
