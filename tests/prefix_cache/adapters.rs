//! Prompts that were computed under different adapters are different prompts.
use crate::{ANY_SIZE, Dir, GEMMA, LLAMA, context, decode, params, tokens};
use llama::cache::Cache;
use llama::session::Context;

fn steered(name: &'static str, by: f32) -> Context {
    let mut c = context(name, params());
    let n = c.model.hp.n_embd as usize;
    c.set_control((by != 0.0).then(|| vec![by; 9 * n]).as_deref(), n as i32, [1, 9]).expect("as wide as the model");
    c
}

#[test]
fn each_set_of_adapters_has_its_own() {
    for name in [LLAMA, GEMMA] {
        let (dir, t) = (Dir::unique(), tokens(7, 300));
        let cache = Cache::open(&dir.0, ANY_SIZE).expect("a folder");
        for by in [0.0, 0.1, -0.1] {
            let mut c = steered(name, by);
            assert_eq!(cache.restore(&mut c, 0, &t).expect("no error"), 0, "{name} {by}: what others stored");
            let want = decode(&mut c, 0, &t);
            cache.store(&mut c, 0, &t).expect("stores");
            let mut again = steered(name, by);
            let n = cache.restore(&mut again, 0, &t).expect("no error");
            assert!(n > 200, "{name} {by}: its own");
            assert!(decode(&mut again, 0, &t[n..]) == want, "{name} {by}: other bits");
        }
    }
}

#[test]
fn what_several_had_a_part_in_is_not_stored() {
    let (dir, t) = (Dir::unique(), tokens(8, 120));
    let cache = Cache::open(&dir.0, ANY_SIZE).expect("a folder");
    let mut c = steered(LLAMA, 0.1);
    decode(&mut c, 0, &t[..60]);
    let n = c.model.hp.n_embd as i32;
    c.set_control(None, n, [0, 0]).expect("off");
    decode(&mut c, 0, &t[60..]);
    assert!(cache.store(&mut c, 0, &t).is_err_and(|e| e.to_string().contains("other adapters")));
    c.seq_rm(Some(0), 60, -1).expect("the end of it");
    assert!(cache.store(&mut c, 0, &t[..60]).is_err(), "what is left is theirs");
    c.seq_rm(Some(0), 0, -1).expect("all of it");
    decode(&mut c, 0, &t);
    cache.store(&mut c, 0, &t).expect("all of it is of now");
}
