// How alike texts are: each becomes a vector, and their cosines are printed as a table.
//
//     embedding MODEL.gguf TEXT TEXT...
#include "llama-cpp.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

using Vector = std::vector<float>;

static std::vector<llama_token> tokenize(const llama_vocab * vocab, const char * text) {
    const int len = (int) strlen(text);
    std::vector<llama_token> tokens(len + 2);
    const int n = llama_tokenize(vocab, text, len, tokens.data(), (int) tokens.size(), true, true);
    tokens.resize(std::max(n, 0));
    return tokens;
}

// The mean over the text's tokens, of length 1; empty where the text could not be computed.
static Vector embed(llama_context * ctx, std::vector<llama_token> tokens) {
    llama_memory_clear(llama_get_memory(ctx), true);
    if (tokens.empty() || llama_decode(ctx, llama_batch_get_one(tokens.data(), (int) tokens.size())) != 0) {
        return {};
    }
    const float * data = llama_get_embeddings_seq(ctx, 0);
    Vector v(data, data + llama_model_n_embd(llama_get_model(ctx)));
    float sum = 0;
    for (float x : v) sum += x * x;
    for (float & x : v) x /= std::sqrt(sum);
    return v;
}

static float cosine(const Vector & a, const Vector & b) {
    float sum = 0;
    for (size_t i = 0; i < a.size(); i++) sum += a[i] * b[i];
    return sum;
}

int main(int argc, char ** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.gguf TEXT TEXT...\n", argv[0]);
        return 1;
    }
    llama_model_ptr model(llama_model_load_from_file(argv[1], llama_model_default_params()));
    if (!model) return 1;

    llama_context_params params = llama_context_default_params();
    params.embeddings   = true;
    params.pooling_type = LLAMA_POOLING_TYPE_MEAN;
    params.n_ubatch     = params.n_batch;
    llama_context_ptr ctx(llama_init_from_model(model.get(), params));
    if (!ctx) return 1;

    std::vector<Vector> vectors;
    for (int i = 2; i < argc; i++) {
        vectors.push_back(embed(ctx.get(), tokenize(llama_model_get_vocab(model.get()), argv[i])));
        if (vectors.back().empty()) return 1;
    }
    for (size_t i = 0; i < vectors.size(); i++) {
        for (const Vector & other : vectors) printf("%6.3f ", cosine(vectors[i], other));
        printf(" %s\n", argv[2 + i]);
    }
}
