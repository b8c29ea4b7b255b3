//! llama-ext.h, under its C++ names: hidden states for drafts and heads of the caller's, and what a model says of drafts. The header is C++ and has
//! no stable names; programs of the original's common library import these.
use super::boundary::{guard, with};
use super::handles::with_context;
use super::ptr;
use super::types::*;
use crate::session::hidden::NextRows;
use crate::session::table;
use platform::log;

fn ctx_of<'a>(ctx: ContextPtr<'a>) -> Option<&'a super::handles::SharedContext> {
    ctx.map(|c| &c.0.ctx)
}

fn done(name: &str, r: platform::Result<()>) {
    r.unwrap_or_else(|e| log::error(format_args!("{name}: {e}")));
}

/// Whether the input of layer `lid` is kept for all tokens of a batch; the number of layers means the output of the last one.
#[unsafe(export_name = "_Z30llama_set_embeddings_layer_inpP13llama_contextjb")]
pub unsafe extern "C" fn llama_set_embeddings_layer_inp(ctx: ContextPtr<'_>, lid: u32, value: bool) {
    const NAME: &str = "llama_set_embeddings_layer_inp";
    with_context(NAME, ctx_of(ctx), (), |c| done(NAME, c.set_layer_inp(lid, value)))
}

/// What went into layer `lid`: a row of n_embd floats per token of the last batch, in its order. NULL where that is not kept.
#[unsafe(export_name = "_Z30llama_get_embeddings_layer_inpP13llama_contextj")]
pub unsafe extern "C" fn llama_get_embeddings_layer_inp(ctx: ContextPtr<'_>, lid: u32) -> *mut f32 {
    with_context("llama_get_embeddings_layer_inp", ctx_of(ctx), std::ptr::null_mut(), |c| first(c.hidden.layer(lid)))
}

/// Whether what heads for further tokens take is kept: of the wanted outputs (`masked`) or of all tokens.
#[unsafe(export_name = "_Z26llama_set_embeddings_nextnP13llama_contextbb")]
pub unsafe extern "C" fn llama_set_embeddings_nextn(ctx: ContextPtr<'_>, value: bool, masked: bool) {
    const NAME: &str = "llama_set_embeddings_nextn";
    let rows = value.then_some(if masked { NextRows::Wanted } else { NextRows::All });
    with_context(NAME, ctx_of(ctx), (), |c| done(NAME, c.set_next(rows)))
}

/// All rows of it. NULL where it is not kept.
#[unsafe(export_name = "_Z26llama_get_embeddings_nextnP13llama_context")]
pub unsafe extern "C" fn llama_get_embeddings_nextn(ctx: ContextPtr<'_>) -> *mut f32 {
    with_context("llama_get_embeddings_nextn", ctx_of(ctx), std::ptr::null_mut(), |c| first(c.hidden.all_next()))
}

/// The row of the i-th token; where only outputs are kept as `llama_get_embeddings_ith` counts. NULL where there is none.
#[unsafe(export_name = "_Z30llama_get_embeddings_nextn_ithP13llama_contexti")]
pub unsafe extern "C" fn llama_get_embeddings_nextn_ith(ctx: ContextPtr<'_>, i: i32) -> *mut f32 {
    with_context("llama_get_embeddings_nextn_ith", ctx_of(ctx), std::ptr::null_mut(), |c| first(c.hidden.next_ith(i, &c.outputs)))
}

/// Which of a model's heads the next decodes of a context of type MTP run. There are no such contexts here.
#[unsafe(export_name = "_Z28llama_set_nextn_layer_offsetP13llama_contexti")]
pub unsafe extern "C" fn llama_set_nextn_layer_offset(ctx: ContextPtr<'_>, _offset: i32) {
    with("llama_set_nextn_layer_offset", ctx, (), |_| ())
}

/// The context that this one shares with. NULL: none of the architectures here has one, as in the original.
#[unsafe(export_name = "_Z19llama_get_ctx_otherP13llama_context")]
pub unsafe extern "C" fn llama_get_ctx_other(ctx: ContextPtr<'_>) -> *mut llama_context {
    with("llama_get_ctx_other", ctx, std::ptr::null_mut(), |_| std::ptr::null_mut())
}

/// Layers of a target model that a draft model reads. NULL: this is no draft model.
#[unsafe(export_name = "_Z28llama_model_target_layer_idsPK11llama_model")]
pub unsafe extern "C" fn llama_model_target_layer_ids(model: Option<&llama_model>) -> *const i32 {
    with("llama_model_target_layer_ids", model, std::ptr::null(), |_| std::ptr::null())
}

/// How many of them.
#[unsafe(export_name = "_Z30llama_model_target_layer_ids_nPK11llama_model")]
pub unsafe extern "C" fn llama_model_target_layer_ids_n(model: Option<&llama_model>) -> u32 {
    with("llama_model_target_layer_ids_n", model, 0, |_| 0)
}

/// Of draft models that choose among their drafts. 0: this is none.
#[unsafe(export_name = "_Z33llama_model_dflash_selector_top_kPK11llama_model")]
pub unsafe extern "C" fn llama_model_dflash_selector_top_k(model: Option<&llama_model>) -> i32 {
    with("llama_model_dflash_selector_top_k", model, 0, |_| 0)
}

/// The table of token embeddings as floats, [n_vocab][n_embd]; how many there are, also for NULL. 0 on failure.
#[unsafe(export_name = "_Z24llama_model_get_tok_embdPK11llama_modelPf")]
pub unsafe extern "C" fn llama_model_get_tok_embd(model: Option<&llama_model>, out: *mut f32) -> u32 {
    const NAME: &str = "llama_model_get_tok_embd";
    with(NAME, model, 0, |m| {
        let m = &m.0.model;
        let Some(n) = table::size(m).and_then(|(width, rows)| u32::try_from(width.checked_mul(rows)?).ok()) else { return 0 };
        // SAFETY: NULL or room for as many floats as this function says for NULL.
        let Some(out) = (unsafe { ptr::slice_mut(out, n) }) else { return n };
        guard(0, || match table::read(m, out) {
            Ok(()) => n,
            Err(e) => {
                log::error(format_args!("{NAME}: {e}"));
                0
            }
        })
    })
}

fn first(row: Option<&mut [f32]>) -> *mut f32 {
    row.map_or(std::ptr::null_mut(), |r| r.as_mut_ptr())
}
