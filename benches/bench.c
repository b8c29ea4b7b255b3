// Times one libllama on one model file and prints one line of JSON.
//
//     bench --model FILE [--threads N] [--reps N] [--states DIR] [--batch N] [--ubatch N] [--type-k TYPE] [--type-v TYPE] [--fa -1|0|1]
//           [--swa-full 0|1] [--load-mode N] [--extra-bufts 0|1] [--verbose 1] [JOB ...]
//
// A JOB is one of
//     pp512         a prompt of 512 tokens into an empty memory
//     tg64@4096     64 single tokens after 4096 others (tg64: after none)
//     tg32x8@256    32 steps of 8 sequences, a token each, every sequence after 256 tokens of its own
//     tg32x8@256s   the same after 256 tokens that they share
//     router512     who is chosen: for each layer how often each expert is among those of a token (of the original only)
// and runs in a context of its own, --reps times. What comes before the measured tokens is computed once and put back by removing them; with
// --states it is kept in DIR, and read from there the next time, by either library.
//
// TYPE is f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1 or iq4_nl. --fa -1 (default) lets the library choose; --load-mode is the number of
// a llama_load_mode (-1: the default); --extra-bufts 0 leaves weights as the file has them. "first_s" is loading, making a context and a
// prompt of 32 tokens. Some logits of every job are in the answer, so that two libraries can be compared.
//
// The same binary runs with every library of the name libllama.so.0: what only the original has is looked up by name.
#define _GNU_SOURCE
#include "llama.h"

#include <dlfcn.h>
#include <link.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_REPS = 256, MAX_JOBS = 16, MAX_SEQS = 64, N_SAMPLES = 256, N_ANSWERS = 8, WARM_UP = 32 };

enum kind { PROMPT, GEN, ROUTER };

struct job {
    const char * name;
    enum kind kind;
    int n, seqs, depth;  // steps; sequences; tokens before them
    bool shared;         // one prefix for all sequences
};

struct options {
    const char *model, *states;
    int threads, reps, batch, ubatch, fa, swa_full, load_mode, extra_bufts, verbose, n_jobs;
    enum ggml_type type_k, type_v;
    struct job jobs[MAX_JOBS];
};

// What stays of a token's logits: enough to compare, little enough to print.
struct answer {
    int argmax;
    float logits[N_SAMPLES];  // evenly spaced over the vocabulary
    int n_samples;
};

struct answers {
    struct answer at[N_ANSWERS];
    int n;
    uint64_t hash;  // of all bits of all of them
};

// Seconds of a wall clock and of all the process's threads: the second tells how far to trust the first on a shared machine.
struct moment {
    double wall, cpu;
};

struct memory {
    long rss, anon, file, peak;  // KiB
};

// What a job works with.
struct bench {
    const struct options * o;
    struct llama_model * model;
    struct llama_context * ctx;
    struct llama_batch batch;
    llama_token * tokens;
    int n_vocab;
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

// "pp512", "tg32x8@256s": see the head of the file.
static struct job read_job(const char * name) {
    struct job j = {.name = name, .seqs = 1};
    char shared = 0;
    if (sscanf(name, "pp%d", &j.n) == 1) {
        j.kind = PROMPT;
    } else if (sscanf(name, "router%d", &j.n) == 1) {
        j.kind = ROUTER;
    } else if (sscanf(name, "tg%dx%d@%d%c", &j.n, &j.seqs, &j.depth, &shared) >= 2 || sscanf(name, "tg%d@%d", &j.n, &j.depth) >= 1) {
        j.kind = GEN;
    }
    j.shared = shared == 's';
    if (j.n < 1 || j.seqs < 1 || j.seqs > MAX_SEQS || j.depth < 0) {
        die("unknown job");
    }
    return j;
}

static void set_option(struct options * o, const char * name, const char * value) {
    const struct { const char * name; int * at; } ints[] = {
        {"--threads", &o->threads}, {"--reps", &o->reps},         {"--batch", &o->batch},         {"--ubatch", &o->ubatch},
        {"--fa", &o->fa},           {"--swa-full", &o->swa_full}, {"--load-mode", &o->load_mode}, {"--extra-bufts", &o->extra_bufts},
        {"--verbose", &o->verbose},
    };
    if (!strcmp(name, "--model")) {
        o->model = value;
    } else if (!strcmp(name, "--states")) {
        o->states = value;
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

static struct options default_options(void) {
    struct llama_context_params c = llama_context_default_params();
    struct llama_model_params m = llama_model_default_params();
    return (struct options) {
        .threads = 1, .reps = 1, .batch = (int) c.n_batch, .ubatch = (int) c.n_ubatch, .fa = -1, .swa_full = c.swa_full,
        .load_mode = -1, .extra_bufts = m.use_extra_bufts, .type_k = c.type_k, .type_v = c.type_v,
    };
}

static struct options read_options(int argc, char ** argv) {
    struct options o = default_options();
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2)) {
            if (o.n_jobs == MAX_JOBS) {
                die("too many jobs");
            }
            o.jobs[o.n_jobs++] = read_job(argv[i]);
        } else if (i + 1 < argc) {
            set_option(&o, argv[i], argv[i + 1]);
            i++;
        } else {
            die("an option without a value");
        }
    }
    if (!o.model || o.threads < 1 || o.reps < 1 || o.reps > MAX_REPS || o.batch < 1) {
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

static int is_cpu_backend(struct dl_phdr_info * info, size_t size, void * found) {
    (void) size;
    const char * name = strstr(info->dlpi_name, "libggml-cpu");
    if (name) {
        *(const char **) found = name;
    }
    return name != NULL;
}

// Which of its builds for this CPU the original took; nothing for others.
static const char * cpu_backend(void) {
    const char * name = "";
    dl_iterate_phdr(is_cpu_backend, &name);
    return name;
}

static struct llama_context_params context_params(const struct options * o, int n_ctx) {
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = (uint32_t) n_ctx;
    p.n_batch = (uint32_t) o->batch;
    p.n_ubatch = (uint32_t) o->ubatch;
    p.n_threads = o->threads;
    p.n_threads_batch = o->threads;
    p.type_k = o->type_k;
    p.type_v = o->type_v;
    p.swa_full = o->swa_full;
    p.flash_attn_type = (enum llama_flash_attn_type) o->fa;
    return p;
}

static struct llama_context * make_context(const struct bench * b, struct llama_context_params p) {
    struct llama_context * ctx = llama_init_from_model(b->model, p);
    if (!ctx) {
        die("cannot make a context");
    }
    return ctx;
}

static int round_up(int n, int to) {
    return (n + to - 1) / to * to;
}

// Sequences that share a prefix lie in one buffer, others in one each: that is the better choice for the original.
static struct llama_context_params job_params(const struct options * o, const struct job * j) {
    int own = round_up(j->depth + j->n + WARM_UP, 256), all = j->shared ? j->depth + round_up(j->n + WARM_UP, 256) * j->seqs : own * j->seqs;
    struct llama_context_params p = context_params(o, round_up(all, 256));
    p.n_seq_max = (uint32_t) j->seqs;
    p.kv_unified = j->shared;
    return p;
}

static void put(struct llama_batch * batch, llama_token token, int pos, int seq, bool logits) {
    int i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = pos;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = seq;
    batch->logits[i] = logits;
}

static void decode(struct bench * b) {
    if (llama_decode(b->ctx, b->batch) != 0) {
        die("decoding failed");
    }
    llama_synchronize(b->ctx);
    b->batch.n_tokens = 0;
}

// Tokens 0..n of one sequence; the logits of the last are wanted.
static void decode_prompt(struct bench * b, int n, int seq) {
    for (int i = 0; i < n; i++) {
        put(&b->batch, b->tokens[i], i, seq, i + 1 == n);
        if (b->batch.n_tokens == b->o->batch || i + 1 == n) {
            decode(b);
        }
    }
}

// One token for each sequence, all at `pos`, none like the other.
static void decode_step(struct bench * b, const struct job * j, int pos) {
    for (int s = 0; s < j->seqs; s++) {
        put(&b->batch, b->tokens[pos + 31 * s], pos, s, true);
    }
    decode(b);
}

static void read_answer(struct bench * b, int row, struct answers * all) {
    const float * logits = llama_get_logits_ith(b->ctx, row);
    if (!logits) {
        die("no logits");
    }
    struct answer * a = &all->at[all->n++];
    *a = (struct answer) {.n_samples = b->n_vocab < N_SAMPLES ? b->n_vocab : N_SAMPLES};
    for (int i = 0; i < b->n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        all->hash = (all->hash ^ bits) * 0x100000001b3u;
        a->argmax = logits[i] > logits[a->argmax] ? i : a->argmax;
        if (!isfinite(logits[i])) {
            die("a logit is not finite");
        }
    }
    for (int i = 0; i < a->n_samples; i++) {
        a->logits[i] = logits[(long) i * b->n_vocab / a->n_samples];
    }
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

// The first `depth` tokens of a sequence: from --states, or computed and put there. The original reads a state only into a context with as
// many streams as that had which wrote it.
static void fill_sequence(struct bench * b, int depth, int seq, int streams) {
    char path[4096];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%d-%d.state", b->o->states ? b->o->states : "", depth, streams);
    llama_token * read = malloc((size_t) depth * sizeof *read);
    bool kept = read && b->o->states && access(path, R_OK) == 0;
    if (kept && (!llama_state_seq_load_file(b->ctx, path, seq, read, (size_t) depth, &n) || n != (size_t) depth)) {
        die("a file of --states does not fit");
    }
    free(read);
    if (!kept) {
        decode_prompt(b, depth, seq);
    }
    if (!kept && b->o->states && !llama_state_seq_save_file(b->ctx, path, seq, b->tokens, (size_t) depth)) {
        die("cannot write to --states");
    }
}

static void fill(struct bench * b, const struct job * j) {
    llama_memory_t memory = llama_get_memory(b->ctx);
    llama_memory_clear(memory, true);
    for (int s = 0; j->depth > 0 && s < j->seqs; s++) {
        if (s > 0 && j->shared) {
            llama_memory_seq_cp(memory, 0, s, -1, -1);
        } else {
            fill_sequence(b, j->depth, s, j->shared ? 1 : j->seqs);
        }
    }
}

// Back to what `fill` left; by it, where a library cannot go back (a window that has moved on).
static void rewind_to_depth(struct bench * b, const struct job * j) {
    for (int s = 0; s < j->seqs; s++) {
        if (!llama_memory_seq_rm(llama_get_memory(b->ctx), s, j->depth, -1)) {
            fill(b, j);
            return;
        }
    }
}

static struct moment time_prompt(struct bench * b, const struct job * j, struct answers * answers) {
    llama_memory_clear(llama_get_memory(b->ctx), true);
    struct moment t = now();
    decode_prompt(b, j->n, 0);
    struct moment spent = since(t);
    read_answer(b, -1, answers);
    return spent;
}

// Logits are read from some of the steps, while the clocks stand.
static struct moment time_gen(struct bench * b, const struct job * j, struct answers * answers) {
    struct moment spent = {0, 0};
    rewind_to_depth(b, j);
    for (int i = 0; i < j->n; i++) {
        struct moment t = now();
        decode_step(b, j, j->depth + i);
        struct moment step = since(t);
        spent = (struct moment) {spent.wall + step.wall, spent.cpu + step.cpu};
        if ((i + 1) * N_ANSWERS / j->n != i * N_ANSWERS / j->n) {
            read_answer(b, i % j->seqs, answers);
        }
    }
    return spent;
}

static void print_memory(const char * name, struct memory m) {
    printf(", \"%s\": {\"rss_kib\": %ld, \"anon_kib\": %ld, \"file_kib\": %ld, \"peak_kib\": %ld}", name, m.rss, m.anon, m.file, m.peak);
}

static void print_answers(const struct answers * all) {
    printf("\"hash\": \"%016llx\", \"answers\": [", (unsigned long long) all->hash);
    for (int k = 0; k < all->n; k++) {
        const struct answer * a = &all->at[k];
        printf("%s{\"argmax\": %d, \"logits\": [", k ? ", " : "", a->argmax);
        for (int i = 0; i < a->n_samples; i++) {
            printf("%s%.6g", i ? ", " : "", (double) a->logits[i]);
        }
        printf("]}");
    }
    printf("]");
}

static void run_job(struct bench * b, const struct job * j) {
    struct moment spent[MAX_REPS];
    struct answers answers;
    b->ctx = make_context(b, job_params(b->o, j));
    decode_prompt(b, WARM_UP, 0);
    decode_step(b, &(struct job) {.seqs = 1}, WARM_UP);
    fill(b, j);
    for (int r = 0; r < b->o->reps; r++) {
        answers = (struct answers) {.hash = 0xcbf29ce484222325u};
        spent[r] = j->kind == PROMPT ? time_prompt(b, j, &answers) : time_gen(b, j, &answers);
    }
    printf("{\"n_tokens\": %d, \"wall_s\": [", j->n * j->seqs);
    for (int r = 0; r < b->o->reps; r++) {
        printf("%s%.6f", r ? ", " : "", spent[r].wall);
    }
    printf("], \"cpu_s\": [");
    for (int r = 0; r < b->o->reps; r++) {
        printf("%s%.6f", r ? ", " : "", spent[r].cpu);
    }
    printf("], ");
    print_answers(&answers);
    printf("}");
    llama_free(b->ctx);
}

static int meta_number(const struct llama_model * model, const char * key) {
    char arch[64] = "", name[128], value[64] = "0";
    llama_model_meta_val_str(model, "general.architecture", arch, sizeof arch);
    snprintf(name, sizeof name, "%s.%s", arch, key);
    llama_model_meta_val_str(model, name, value, sizeof value);
    return atoi(value);
}

// The original's names for what an evaluation callback may ask of a tensor.
struct choices {
    const char * (*name)(const struct ggml_tensor *);
    int64_t (*n_elements)(const struct ggml_tensor *);
    void (*get)(const struct ggml_tensor *, void *, size_t, size_t);
    int n_tokens, n_expert, n_used, n_layers;
    int32_t * ranked;  // [n_tokens][n_expert], best first
};

static void print_counts(struct choices * c) {
    int * counts = calloc((size_t) c->n_expert, sizeof *counts);
    for (int i = 0; counts && i < c->n_tokens * c->n_used; i++) {
        counts[c->ranked[i / c->n_used * c->n_expert + i % c->n_used]]++;
    }
    printf("%s[", c->n_layers++ ? ", " : "");
    for (int i = 0; counts && i < c->n_expert; i++) {
        printf("%s%d", i ? ", " : "", counts[i]);
    }
    printf("]");
    free(counts);
}

// The last layer computes only what the output needs: it is left out, having fewer tokens.
static bool on_tensor(struct ggml_tensor * t, bool ask, void * data) {
    struct choices * c = data;
    bool wanted = !strncmp(c->name(t), "ffn_moe_argsort", 15) && c->n_elements(t) == (int64_t) c->n_tokens * c->n_expert;
    if (wanted && !ask) {
        c->get(t, c->ranked, 0, (size_t) (c->n_tokens * c->n_expert) * sizeof *c->ranked);
        print_counts(c);
    }
    return ask ? wanted : true;
}

// The experts that the prompt's tokens go to, as the original computes it with its own hidden states.
static void run_router(struct bench * b, const struct job * j) {
    struct choices c = {.n_tokens = j->n, .n_expert = meta_number(b->model, "expert_count"), .n_used = meta_number(b->model, "expert_used_count")};
    *(void **) &c.name = dlsym(RTLD_DEFAULT, "ggml_get_name");
    *(void **) &c.n_elements = dlsym(RTLD_DEFAULT, "ggml_nelements");
    *(void **) &c.get = dlsym(RTLD_DEFAULT, "ggml_backend_tensor_get");
    c.ranked = malloc((size_t) (c.n_tokens * c.n_expert) * sizeof *c.ranked);
    if (!c.name || !c.n_elements || !c.get || !c.ranked || c.n_expert == 0 || j->n > b->o->ubatch) {
        die("router: for the original, a model with experts, and prompts of one ubatch");
    }
    struct llama_context_params p = context_params(b->o, round_up(j->n, 256));
    p.cb_eval = on_tensor;
    p.cb_eval_user_data = &c;
    b->ctx = make_context(b, p);
    printf("{\"n_used\": %d, \"counts\": [", c.n_used);
    decode_prompt(b, j->n, 0);
    printf("]}");
    llama_free(b->ctx);
    free(c.ranked);
}

// A library may leave work to the first tokens, so the time until those are done counts too.
static void first_tokens(struct bench * b, double load_s) {
    struct moment start = now();
    b->ctx = make_context(b, context_params(b->o, 256));
    decode_prompt(b, WARM_UP, 0);
    printf(", \"first_s\": %.4f", load_s + since(start).wall);
    print_memory("after_first", memory_now());
    llama_free(b->ctx);
}

static struct bench make_bench(const struct options * o, struct llama_model * model) {
    int longest = WARM_UP + 1;
    for (int i = 0; i < o->n_jobs; i++) {
        int n = o->jobs[i].depth + o->jobs[i].n + 31 * o->jobs[i].seqs;
        longest = n > longest ? n : longest;
    }
    int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model)), width = o->batch > MAX_SEQS ? o->batch : MAX_SEQS;
    return (struct bench) {.o = o, .model = model, .n_vocab = n_vocab, .tokens = make_tokens(longest, n_vocab), .batch = llama_batch_init(width, 0, 1)};
}

static void run_jobs(struct bench * b) {
    printf(", \"jobs\": {");
    for (int i = 0; i < b->o->n_jobs; i++) {
        const struct job * j = &b->o->jobs[i];
        printf("%s\"%s\": ", i ? ", " : "", j->name);
        j->kind == ROUTER ? run_router(b, j) : run_job(b, j);
    }
    printf("}");
}

int main(int argc, char ** argv) {
    struct options o = read_options(argc, argv);
    llama_log_set(log_errors, o.verbose ? &o : NULL);
    load_backends();
    llama_backend_init();

    struct llama_model_params p = llama_model_default_params();
    p.load_mode = (enum llama_load_mode) o.load_mode;
    p.use_extra_bufts = o.extra_bufts;
    struct moment t = now();
    struct llama_model * model = llama_model_load_from_file(o.model, p);
    struct moment load = since(t);
    if (!model) {
        die("cannot load the model");
    }
    printf("{\"library\": \"%s\", \"backend\": \"%s\", \"system\": \"%s\", \"load_s\": %.4f", library_path(), cpu_backend(), llama_print_system_info(), load.wall);
    print_memory("after_load", memory_now());
    struct bench b = make_bench(&o, model);
    first_tokens(&b, load.wall);
    run_jobs(&b);
    printf(", \"peak_kib\": %ld}\n", memory_now().peak);
    llama_batch_free(b.batch);
    free(b.tokens);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
