// A conversation's memory in a file: a prompt is computed once and saved, a second context goes on from the file. Both say the same.
//
//     state MODEL.gguf FILE PROMPT [N]
#include "llama-cpp.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using Tokens = std::vector<llama_token>;

static Tokens tokenize(const llama_vocab * vocab, const char * text) {
    const int len = (int) strlen(text);
    Tokens tokens(len + 2);
    const int n = llama_tokenize(vocab, text, len, tokens.data(), (int) tokens.size(), true, true);
    tokens.resize(std::max(n, 0));
    return tokens;
}

static bool decode(llama_context * ctx, llama_token * tokens, size_t n) {
    return n == 0 || llama_decode(ctx, llama_batch_get_one(tokens, (int) n)) == 0;
}

// Up to n tokens, each the likeliest.
static std::string generate(llama_context * ctx, const llama_vocab * vocab, llama_token last, int n) {
    llama_sampler_ptr greedy(llama_sampler_init_greedy());
    std::string text;
    for (int i = 0; i < n && decode(ctx, &last, 1); i++) {
        last = llama_sampler_sample(greedy.get(), ctx, -1);
        if (llama_vocab_is_eog(vocab, last)) break;
        char piece[256];
        text.append(piece, std::max(0, llama_token_to_piece(vocab, last, piece, sizeof piece, 0, false)));
    }
    return text;
}

int main(int argc, char ** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf FILE PROMPT [N]\n", argv[0]);
        return 1;
    }
    const int n = argc > 4 ? atoi(argv[4]) : 40;
    llama_model_ptr model(llama_model_load_from_file(argv[1], llama_model_default_params()));
    if (!model) return 1;
    const llama_vocab * vocab = llama_model_get_vocab(model.get());
    Tokens prompt = tokenize(vocab, argv[3]);
    if (prompt.empty()) return 1;

    // All but the last token: that one is decoded by whoever goes on, because its logits are needed.
    llama_context_ptr first(llama_init_from_model(model.get(), llama_context_default_params()));
    if (!first || !decode(first.get(), prompt.data(), prompt.size() - 1)) return 1;
    if (!llama_state_save_file(first.get(), argv[2], prompt.data(), prompt.size())) return 1;
    const std::string before = generate(first.get(), vocab, prompt.back(), n);

    llama_context_ptr second(llama_init_from_model(model.get(), llama_context_default_params()));
    Tokens known(prompt.size());
    size_t n_known = 0;
    if (!second || !llama_state_load_file(second.get(), argv[2], known.data(), known.size(), &n_known)) return 1;
    const std::string after = generate(second.get(), vocab, known[n_known - 1], n);

    printf("%s%s\n", argv[3], after.c_str());
    fprintf(stderr, "%zu tokens from %s\n", n_known, argv[2]);
    return before == after ? 0 : 2;
}
