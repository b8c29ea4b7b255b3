//! llama.h: Samplers: from logits to a token. A sampler is a table of functions and a state; C may bring its own.
use super::boundary::{guard, with};
use super::handles::with_context;
use super::links::{self, Link, LinkChain};
use super::picking;
use super::types::*;
use crate::sampling::{self, DEFAULT_SEED, Row, Sampler, TokenData, TryClone};
use platform::{Error, Result, log};
use std::ffi::c_char;
use std::mem::ManuallyDrop;

/// Runs a chain where the model runs, for one sequence; NULL removes it. false where that is not possible.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_set_sampler(ctx: ContextPtr<'_>, seq_id: llama_seq_id, smpl: *mut llama_sampler) -> bool {
    // SAFETY: NULL or a live sampler.
    with_context("llama_set_sampler", ctx.map(|c| &c.0.ctx), false, |c| unsafe { picking::set(c, seq_id, smpl) })
}

/// A sampler with the caller's functions and state.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_init(iface: *mut llama_sampler_i, ctx: llama_sampler_context_t) -> *mut llama_sampler {
    guard(std::ptr::null_mut(), || links::handle(iface, ctx))
}

/// The sampler's name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_name(smpl: *const llama_sampler) -> *const c_char {
    // SAFETY: NULL or a live sampler.
    with("llama_sampler_name", unsafe { links::borrow(smpl) }, c"(null)".as_ptr(), |s| s.name().as_ptr())
}

/// Tells the sampler which token was taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_accept(smpl: *mut llama_sampler, token: llama_token) {
    // SAFETY: NULL or a live sampler.
    with("llama_sampler_accept", unsafe { links::borrow(smpl) }, (), |mut s| s.accept(token))
}

/// Lets the sampler work on candidates.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_apply(smpl: *mut llama_sampler, cur_p: *mut llama_token_data_array) {
    // SAFETY: NULL or a live sampler; NULL or a valid array.
    let (smpl, cur_p) = unsafe { (links::borrow(smpl), cur_p.as_mut()) };
    with("llama_sampler_apply", smpl.zip(cur_p), (), |(mut s, array)| {
        // SAFETY: the array holds `size` candidates.
        unsafe { links::apply_to(&mut *s, array) }
    })
}

/// Forgets everything accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_reset(smpl: *mut llama_sampler) {
    // SAFETY: NULL or a live sampler.
    with("llama_sampler_reset", unsafe { links::borrow(smpl) }, (), |mut s| s.reset())
}

/// A copy with its own state; NULL where the sampler cannot be copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_clone(smpl: *const llama_sampler) -> *mut llama_sampler {
    // SAFETY: NULL or a live sampler.
    with("llama_sampler_clone", unsafe { links::borrow(smpl) }, std::ptr::null_mut(), |s| {
        s.try_clone().map_or(std::ptr::null_mut(), Link::into_raw)
    })
}

/// Takes over the state of another sampler of the same kind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_copy(src: *const llama_sampler, dst: *mut llama_sampler) {
    // SAFETY: NULL or live samplers.
    let (from, to) = unsafe { (links::borrow(src), links::borrow(dst)) };
    with("llama_sampler_copy", from.zip(to), (), |(from, mut to)| {
        if !std::ptr::eq(src, dst) && !to.copy_state(&*from) {
            log::error(format_args!("llama_sampler_copy: sampler {:?} is of another kind than {:?}", from.name(), to.name()));
        }
    })
}

/// Frees a sampler; not one that was added to a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_free(smpl: *mut llama_sampler) {
    // SAFETY: NULL or a live sampler, which the caller gives up.
    guard((), || drop(unsafe { links::borrow(smpl) }.map(ManuallyDrop::into_inner)))
}

/// The parameters to start from.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_default_params() -> llama_sampler_chain_params {
    llama_sampler_chain_params { no_perf: true }
}

/// An empty chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_init(params: llama_sampler_chain_params) -> *mut llama_sampler {
    guard(std::ptr::null_mut(), || links::chain(params.no_perf))
}

/// Adds a sampler at the end; the chain owns it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_add(chain: *mut llama_sampler, smpl: *mut llama_sampler) {
    // SAFETY: NULL or live samplers; the chain takes `smpl` over.
    let chain = unsafe { links::as_chain(chain) }.filter(|_| !std::ptr::eq(chain, smpl) && !smpl.is_null());
    // A link owns its sampler: it is made only where the chain takes it.
    with("llama_sampler_chain_add", chain, (), |chain| Link::new(smpl).into_iter().for_each(|link| chain.add(link)))
}

/// The i-th sampler, still owned by the chain; the chain itself for -1. NULL where there is none or this is not a chain.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_get(chain: *mut llama_sampler, i: i32) -> *mut llama_sampler {
    // SAFETY: NULL or a live sampler.
    let links = unsafe { links::as_chain(chain) };
    guard(std::ptr::null_mut(), || match (links, usize::try_from(i)) {
        (Some(links), Ok(i)) => links.get(i).map_or(std::ptr::null_mut(), Link::as_ptr),
        (Some(_), Err(_)) if i == -1 => chain,
        _ => std::ptr::null_mut(),
    })
}

/// How many samplers there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_n(chain: *const llama_sampler) -> i32 {
    // SAFETY: NULL or a live sampler.
    let links = unsafe { links::as_chain(chain) };
    with("llama_sampler_chain_n", links, 0, |c| i32::try_from(c.len()).unwrap_or(i32::MAX))
}

/// Takes the i-th sampler out; the caller owns it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_chain_remove(chain: *mut llama_sampler, i: i32) -> *mut llama_sampler {
    // SAFETY: NULL or a live sampler.
    let links = unsafe { links::as_chain(chain) };
    with("llama_sampler_chain_remove", links, std::ptr::null_mut(), |c| {
        usize::try_from(i).ok().and_then(|i| c.remove(i)).map_or(std::ptr::null_mut(), Link::into_raw)
    })
}

/// The seed in use, LLAMA_DEFAULT_SEED where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_get_seed(smpl: *const llama_sampler) -> u32 {
    // SAFETY: NULL or a live sampler.
    with("llama_sampler_get_seed", unsafe { links::borrow(smpl) }, DEFAULT_SEED, |s| s.seed().unwrap_or(DEFAULT_SEED))
}

/// Takes the logits of the idx-th output, applies the sampler, accepts and returns the token it selects; LLAMA_TOKEN_NULL on failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llama_sampler_sample(smpl: *mut llama_sampler, ctx: ContextPtr<'_>, idx: i32) -> llama_token {
    const NAME: &str = "llama_sampler_sample";
    // SAFETY: NULL or a live sampler.
    let (chain, alone) = unsafe { (links::as_chain(smpl), links::borrow(smpl)) };
    with_context(NAME, ctx.filter(|_| alone.is_some()).map(|c| &c.0.ctx), LLAMA_TOKEN_NULL, |c| {
        let row = c.outputs.sampled_ith(idx).ok().flatten();
        let token = match (row, alone) {
            (Some(row), Some(mut s)) => after_model(&mut s, row),
            (None, alone) => match c.outputs.logits_ith(idx) {
                Some(logits) => from_logits(chain, alone, logits),
                None => Err(Error::invalid(format!("there are no logits for index {idx}"))),
            },
            (Some(_), None) => Ok(LLAMA_TOKEN_NULL),
        };
        token.unwrap_or_else(|e| {
            log::error(format_args!("{NAME}: {e}"));
            LLAMA_TOKEN_NULL
        })
    })
}

fn from_logits(chain: Option<&mut LinkChain>, alone: Option<ManuallyDrop<Link>>, logits: &[f32]) -> Result<i32> {
    match (chain, alone) {
        (Some(chain), _) => chain.sample(logits),
        (None, Some(mut s)) => sampling::sample(&mut *s, logits),
        (None, None) => Ok(LLAMA_TOKEN_NULL),
    }
}

/// What a chain that ran with the model has picked, or a pick among what it has left.
fn after_model(s: &mut Link, row: &Row) -> Result<i32> {
    if let Some(token) = row.token {
        s.accept(token);
        return Ok(token);
    }
    let p = |i: usize| row.probs.as_ref().and_then(|p| p.get(i)).copied().unwrap_or(0.0);
    let mut list: Vec<TokenData> = (0..).zip(&row.logits).map(|(i, logit)| TokenData { id: row.id(i), logit: *logit, p: p(i) }).collect();
    sampling::sample_list(s, &mut list)
}
