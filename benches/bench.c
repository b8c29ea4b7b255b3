// Times one libllama on one model file and prints one line of JSON.
//
//     bench --model FILE [--threads N] [--prompt N] [--gen N] [--depth N] [--reps N] [--batch N] [--ubatch N]
//           [--type-k TYPE] [--type-v TYPE] [--fa -1|0|1] [--load-mode N] [--big-ctx N] [--verbose]
//
// TYPE is f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1 or iq4_nl. --fa -1 (default) lets the library choose; --load-mode is the number of
// a llama_load_mode (-1: the default). One repetition is a prompt of --prompt tokens into an empty memory, then --gen single tokens after
// --depth others. --big-ctx N also makes a context of N cells and says what memory it costs. "first_s" is loading, making a context and a
// prompt of 32 tokens. The last logits of both phases are in the answer, so that two libraries can be compared.
//
// The same binary runs with every library of the name libllama.so.0: what only the original has is looked up by name.
#define _GNU_SOURCE
#include "llama.h"

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_REPS = 64, N_SAMPLES = 256 };

struct options {
    const char * model;
    int threads, prompt, gen, depth, reps, batch, ubatch, fa, load_mode, big_ctx, verbose;
    enum ggml_type type_k, type_v;
};

// What stays of the logits of a vocabulary: enough to compare, little enough to print.
struct answer {
    int argmax;
    uint64_t hash;            // of all bits: equal only when every logit is
    float logits[N_SAMPLES];  // evenly spaced over the vocabulary
    int n_samples;
};

// Seconds of a wall clock and of all the process's threads: the second tells how far to trust the first on a shared machine.
struct moment {
    double wall, cpu;
};

struct timings {
    struct moment prompt[MAX_REPS], gen[MAX_REPS];
};

struct memory {
    long rss, anon, file, peak;  // KiB
};

static void die(const char * what) {
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static struct moment now(void) {
    return (struct moment) {seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID)};
}

static struct moment since(struct moment start) {
    struct moment end = now();
    return (struct moment) {end.wall - start.wall, end.cpu - start.cpu};
}

static struct memory memory_now(void) {
    struct memory m = {0, 0, 0, 0};
    char line[256];
    FILE * f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f)) {
        sscanf(line, "VmRSS: %ld", &m.rss);
        sscanf(line, "VmHWM: %ld", &m.peak);
        sscanf(line, "RssAnon: %ld", &m.anon);
        sscanf(line, "RssFile: %ld", &m.file);
    }
    if (f) {
        fclose(f);
    }
    return m;
}

static enum ggml_type type_by_name(const char * name) {
    static const struct { const char * name; enum ggml_type type; } types[] = {
        {"f32", GGML_TYPE_F32},   {"f16", GGML_TYPE_F16},   {"bf16", GGML_TYPE_BF16}, {"q8_0", GGML_TYPE_Q8_0},     {"q4_0", GGML_TYPE_Q4_0},
        {"q4_1", GGML_TYPE_Q4_1}, {"q5_0", GGML_TYPE_Q5_0}, {"q5_1", GGML_TYPE_Q5_1}, {"iq4_nl", GGML_TYPE_IQ4_NL},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!strcmp(types[i].name, name)) {
            return types[i].type;
        }
    }
    die("unknown type of keys or values");
    return GGML_TYPE_F32;
}

static void set_option(struct options * o, const char * name, const char * value) {
    const struct { const char * name; int * at; } ints[] = {
        {"--threads", &o->threads}, {"--prompt", &o->prompt}, {"--gen", &o->gen},   {"--depth", &o->depth},     {"--reps", &o->reps},
        {"--batch", &o->batch},     {"--ubatch", &o->ubatch}, {"--fa", &o->fa},     {"--big-ctx", &o->big_ctx}, {"--load-mode", &o->load_mode},
    };
    if (!strcmp(name, "--model")) {
        o->model = value;
    } else if (!strcmp(name, "--type-k")) {
        o->type_k = type_by_name(value);
    } else if (!strcmp(name, "--type-v")) {
        o->type_v = type_by_name(value);
    } else {
        for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
            if (!strcmp(ints[i].name, name)) {
                *ints[i].at = atoi(value);
                return;
            }
        }
        die("unknown option");
    }
}

static struct options read_options(int argc, char ** argv) {
    struct llama_context_params defaults = llama_context_default_params();
    struct options o = {.threads = 1, .prompt = 512, .gen = 64, .reps = 1, .fa = -1, .load_mode = -1};
    o.type_k = defaults.type_k;
    o.type_v = defaults.type_v;
    o.batch = (int) defaults.n_batch;
    o.ubatch = (int) defaults.n_ubatch;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--verbose")) {
            o.verbose = 1;
        } else if (i + 1 < argc) {
            set_option(&o, argv[i], argv[i + 1]);
            i++;
        } else {
            die("an option without a value");
        }
    }
    int bad = !o.model || o.threads < 1 || o.prompt < 0 || o.gen < 0 || o.depth < 0 || o.reps < 1 || o.reps > MAX_REPS || o.batch < 1;
    if (bad) {
        die("bad or missing options: see the head of bench.c");
    }
    return o;
}

static void log_errors(enum ggml_log_level level, const char * text, void * verbose) {
    if (level == GGML_LOG_LEVEL_ERROR || verbose) {
        fputs(text, stderr);
    }
}

// The file that llama_decode came from.
static const char * library_path(void) {
    Dl_info info;
    void * decode = dlsym(RTLD_DEFAULT, "llama_decode");
    return decode && dladdr(decode, &info) && info.dli_fname ? info.dli_fname : "";
}

// The original finds its compute libraries only when told where they lie: beside it.
static void load_backends(void) {
    void (*load)(const char *);
    *(void **) &load = dlsym(RTLD_DEFAULT, "ggml_backend_load_all_from_path");
    const char * path = library_path();
    const char * slash = strrchr(path, '/');
    if (load && slash) {
        char dir[4096];
        snprintf(dir, sizeof dir, "%.*s", (int) (slash - path), path);
        load(dir);
    }
}

static struct llama_context * make_context(struct llama_model * model, const struct options * o, int n_ctx) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t) n_ctx;
    p.n_batch = (uint32_t) o->batch;
    p.n_ubatch = (uint32_t) o->ubatch;
    p.n_threads = o->threads;
    p.n_threads_batch = o->threads;
    p.type_k = o->type_k;
    p.type_v = o->type_v;
    p.flash_attn_type = (enum llama_flash_attn_type) o->fa;
    return llama_init_from_model(model, p);
}

static void decode(struct llama_context * ctx, llama_token * tokens, int n, int batch) {
    for (int i = 0; i < n; i += batch) {
        int m = n - i < batch ? n - i : batch;
        if (llama_decode(ctx, llama_batch_get_one(tokens + i, m)) != 0) {
            die("decoding failed");
        }
    }
    llama_synchronize(ctx);
}

static struct answer read_answer(struct llama_context * ctx, int n_vocab) {
    struct answer a = {.argmax = 0, .hash = 0xcbf29ce484222325u, .n_samples = n_vocab < N_SAMPLES ? n_vocab : N_SAMPLES};
    const float * logits = llama_get_logits_ith(ctx, -1);
    if (!logits) {
        die("no logits");
    }
    for (int i = 0; i < n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        a.hash = (a.hash ^ bits) * 0x100000001b3u;
        a.argmax = logits[i] > logits[a.argmax] ? i : a.argmax;
        if (!isfinite(logits[i])) {
            die("a logit is not finite");
        }
    }
    for (int i = 0; i < a.n_samples; i++) {
        a.logits[i] = logits[(long) i * n_vocab / a.n_samples];
    }
    return a;
}

// Any tokens do; the same ones every time and in every library.
static llama_token * make_tokens(int n, int n_vocab) {
    llama_token * tokens = malloc((size_t) n * sizeof *tokens);
    uint64_t x = 88172645463325252u;
    for (int i = 0; tokens && i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        tokens[i] = (llama_token) (x % (uint64_t) n_vocab);
    }
    if (!tokens) {
        die("no memory for the tokens");
    }
    return tokens;
}

static struct moment time_prompt(struct llama_context * ctx, const struct options * o, llama_token * tokens) {
    llama_memory_clear(llama_get_memory(ctx), true);
    struct moment t = now();
    decode(ctx, tokens, o->prompt, o->batch);
    return since(t);
}

static struct moment time_gen(struct llama_context * ctx, const struct options * o, llama_token * tokens) {
    llama_memory_clear(llama_get_memory(ctx), true);
    decode(ctx, tokens, o->depth, o->batch);
    struct moment t = now();
    decode(ctx, tokens + o->depth, o->gen, 1);
    return since(t);
}

static void print_memory(const char * name, struct memory m) {
    printf(", \"%s\": {\"rss_kib\": %ld, \"anon_kib\": %ld, \"file_kib\": %ld}", name, m.rss, m.anon, m.file);
}

static void print_phase(const char * name, const struct moment * spent, int reps, int n_tokens, const struct answer * a) {
    printf(", \"%s\": {\"n_tokens\": %d, \"tokens_per_s\": [", name, n_tokens);
    for (int i = 0; i < reps; i++) {
        printf("%s%.4f", i ? ", " : "", n_tokens / spent[i].wall);
    }
    printf("], \"cpu_s\": [");
    for (int i = 0; i < reps; i++) {
        printf("%s%.4f", i ? ", " : "", spent[i].cpu);
    }
    printf("], \"argmax\": %d, \"hash\": \"%016llx\", \"logits\": [", a->argmax, (unsigned long long) a->hash);
    for (int i = 0; i < a->n_samples; i++) {
        printf("%s%.6g", i ? ", " : "", (double) a->logits[i]);
    }
    printf("]}");
}

// A context is made and thrown away: what does it cost before a token is in it?
static void big_context(struct llama_model * model, const struct options * o) {
    struct moment t = now();
    struct llama_context * ctx = make_context(model, o, o->big_ctx);
    if (!ctx) {
        die("cannot make the big context");
    }
    printf(", \"big_ctx\": %u, \"big_ctx_s\": %.4f", llama_n_ctx(ctx), since(t).wall);
    print_memory("after_big_ctx", memory_now());
    llama_free(ctx);
}

// `load_s`: what loading took. A library may leave work to the first tokens, so the time until those are done counts too.
static void phases(struct llama_model * model, const struct options * o, double load_s) {
    int longest = o->prompt > o->depth + o->gen ? o->prompt : o->depth + o->gen;
    if (longest == 0) {
        return;
    }
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    llama_token * tokens = make_tokens(longest + 32, n_vocab);
    struct moment start = now();
    struct llama_context * ctx = make_context(model, o, longest + 32);
    if (!ctx) {
        die("cannot make a context");
    }
    decode(ctx, tokens, 32, o->batch);
    printf(", \"first_s\": %.4f", load_s + since(start).wall);
    decode(ctx, tokens, 1, 1);

    struct timings t;
    struct answer after_prompt = {0}, after_gen = {0};
    for (int r = 0; r < o->reps; r++) {
        if (o->prompt > 0) {
            t.prompt[r] = time_prompt(ctx, o, tokens);
            after_prompt = read_answer(ctx, n_vocab);
        }
        if (o->gen > 0) {
            t.gen[r] = time_gen(ctx, o, tokens);
            after_gen = read_answer(ctx, n_vocab);
        }
    }
    if (o->prompt > 0) {
        print_phase("prompt", t.prompt, o->reps, o->prompt, &after_prompt);
    }
    if (o->gen > 0) {
        print_phase("gen", t.gen, o->reps, o->gen, &after_gen);
    }
    llama_free(ctx);
    free(tokens);
}

int main(int argc, char ** argv) {
    struct options o = read_options(argc, argv);
    llama_log_set(log_errors, o.verbose ? &o : NULL);
    load_backends();
    llama_backend_init();

    struct llama_model_params p = llama_model_default_params();
    p.load_mode = (enum llama_load_mode) o.load_mode;
    struct moment t = now();
    struct llama_model * model = llama_model_load_from_file(o.model, p);
    struct moment load = since(t);
    if (!model) {
        die("cannot load the model");
    }
    printf("{\"library\": \"%s\", \"system\": \"%s\", \"load_s\": %.4f", library_path(), llama_print_system_info(), load.wall);
    print_memory("after_load", memory_now());
    if (o.big_ctx > 0) {
        big_context(model, &o);
    }
    phases(model, &o, load.wall);
    printf(", \"peak_kib\": %ld}\n", memory_now().peak);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
