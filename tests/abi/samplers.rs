//! Samplers across the C face: tables that C calls, samplers that C brings, who owns whom.
use crate::cc::{Lang, compile, run};

const SOURCE: &str = r#"
#include "llama.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_freed, n_accepted, n_reset;

struct forbid { llama_token token; };

static const char * forbid_name(const struct llama_sampler * s) { (void) s; return "forbid"; }
static void forbid_accept(struct llama_sampler * s, llama_token t) { (void) s; (void) t; n_accepted++; }
static void forbid_apply(struct llama_sampler * s, llama_token_data_array * a) {
    for (size_t i = 0; i < a->size; i++) {
        if (a->data[i].id == ((struct forbid *) s->ctx)->token) a->data[i].logit = -1e9f;
    }
}
static void forbid_reset(struct llama_sampler * s) { (void) s; n_reset++; }
static struct llama_sampler_i forbid_table;
static struct llama_sampler * forbid(llama_token token) {
    struct forbid * f = malloc(sizeof *f);
    f->token = token;
    return llama_sampler_init(&forbid_table, f);
}
static struct llama_sampler * forbid_clone(const struct llama_sampler * s) { return forbid(((struct forbid *) s->ctx)->token); }
static void forbid_free(struct llama_sampler * s) { n_freed++; free(s->ctx); }

static llama_token pick(struct llama_sampler * s) {
    llama_token_data d[4] = {{0, 1.0f, 0}, {1, 4.0f, 0}, {2, 3.0f, 0}, {3, 2.0f, 0}};
    llama_token_data_array a = {d, 4, -1, false};
    llama_sampler_apply(s, &a);
    return a.selected < 0 ? -1 : a.data[a.selected].id;
}

#define CHECK(x) do { if (!(x)) { printf("line %d: %s\n", __LINE__, #x); return 1; } } while (0)

int main(void) {
    forbid_table.name = forbid_name;
    forbid_table.accept = forbid_accept;
    forbid_table.apply = forbid_apply;
    forbid_table.reset = forbid_reset;
    forbid_table.clone = forbid_clone;
    forbid_table.free = forbid_free;

    // a chain of a foreign sampler and one of ours
    struct llama_sampler * chain = llama_sampler_chain_init(llama_sampler_chain_default_params());
    struct llama_sampler * mine = forbid(1);
    llama_sampler_chain_add(chain, mine);
    llama_sampler_chain_add(chain, llama_sampler_init_greedy());
    CHECK(llama_sampler_chain_n(chain) == 2);
    CHECK(llama_sampler_chain_get(chain, 0) == mine);
    CHECK(llama_sampler_chain_get(chain, -1) == chain);
    CHECK(llama_sampler_chain_get(chain, 2) == NULL && llama_sampler_chain_get(chain, -2) == NULL);
    CHECK(llama_sampler_chain_get(mine, -1) == NULL);
    CHECK(!strcmp(llama_sampler_name(chain), "chain") && !strcmp(llama_sampler_name(mine), "forbid"));
    CHECK(pick(chain) == 2);
    llama_sampler_accept(chain, 2);
    llama_sampler_reset(chain);
    CHECK(n_accepted == 1 && n_reset == 1);

    // a clone has its own state and owns it
    struct llama_sampler * copy = llama_sampler_clone(chain);
    CHECK(copy && copy != chain && llama_sampler_chain_get(copy, 0) != mine);
    ((struct forbid *) mine->ctx)->token = 2;
    CHECK(pick(chain) == 1 && pick(copy) == 2);
    llama_sampler_free(copy);
    CHECK(n_freed == 1);

    // a sampler that was taken out is the caller's again
    CHECK(llama_sampler_chain_remove(chain, 0) == mine && llama_sampler_chain_n(chain) == 1);
    llama_sampler_free(chain);
    CHECK(n_freed == 1);
    llama_sampler_free(mine);
    CHECK(n_freed == 2);

    // our tables are real: C may call through them
    struct llama_sampler * k = llama_sampler_init_top_k(2);
    llama_token_data d[3] = {{0, 1.0f, 0}, {1, 3.0f, 0}, {2, 2.0f, 0}};
    llama_token_data_array a = {d, 3, -1, false};
    CHECK(!strcmp(k->iface->name(k), "top-k"));
    k->iface->apply(k, &a);
    CHECK(a.size == 2 && a.data[0].id == 1 && a.data[1].id == 2 && a.sorted);
    struct llama_sampler * k2 = k->iface->clone(k);
    CHECK(k2 && k2->iface == k->iface && k2->ctx != k->ctx);
    k2->iface->reset(k2);
    llama_sampler_free(k2);
    llama_sampler_free(k);

    // the same seed draws the same tokens; copy carries the generator over
    struct llama_sampler * d1 = llama_sampler_init_dist(42);
    struct llama_sampler * d2 = llama_sampler_init_dist(42);
    CHECK(llama_sampler_get_seed(d1) == 42 && llama_sampler_get_seed(k = llama_sampler_init_greedy()) == LLAMA_DEFAULT_SEED);
    llama_sampler_free(k);
    for (int i = 0; i < 20; i++) CHECK(pick(d1) == pick(d2));
    pick(d1);
    llama_sampler_copy(d1, d2);
    for (int i = 0; i < 20; i++) CHECK(pick(d1) == pick(d2));
    llama_sampler_free(d1);
    llama_sampler_free(d2);

    // a table with holes: no name, no clone, no state
    static struct llama_sampler_i bare;
    struct llama_sampler * b = llama_sampler_init(&bare, NULL);
    llama_sampler_accept(b, 1);
    llama_sampler_reset(b);
    CHECK(!strcmp(llama_sampler_name(b), "(null)") && pick(b) == -1);
    struct llama_sampler * b2 = llama_sampler_clone(b);
    CHECK(b2 && b2->iface == &bare);
    llama_sampler_free(b2);
    llama_sampler_free(b);
    puts("done");
    return 0;
}
"#;

#[test]
fn chains_clones_and_foreign_samplers() {
    let out = run(&compile("samplers", Lang::C, SOURCE, &[]));
    assert!(out.starts_with("done\n"), "{out}");
}
