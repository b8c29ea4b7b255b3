//! The C++ names of llama-ext.h used wrongly: NULL, layers and indices that are not there, before a decode and after a refused one.
use crate::tiny::{Batch, N_EMBD, N_LAYER, N_VOCAB, Tiny, ctx_params, errors, one_error, said};
use llama::capi::nextn::*;
use std::ptr::null_mut;

#[test]
fn hidden_states_where_none_are() {
    let m = Tiny::new("llama").load("hidden");
    let c = m.ctx(ctx_params());
    // SAFETY: live handles or NULL; room for the whole table.
    unsafe {
        llama_set_embeddings_layer_inp(None, 0, true);
        llama_set_embeddings_nextn(None, true, false);
        llama_set_nextn_layer_offset(None, 3);
        assert!(llama_get_embeddings_layer_inp(None, 0).is_null() && llama_get_embeddings_nextn(None).is_null());
        assert!(llama_get_embeddings_nextn_ith(None, 0).is_null() && llama_get_ctx_other(None).is_null());
        assert!(llama_model_target_layer_ids(None).is_null());
        assert_eq!([llama_model_target_layer_ids_n(None), llama_model_get_tok_embd(None, null_mut())], [0; 2]);
        assert_eq!(llama_model_dflash_selector_top_k(None), 0);
        errors("NULL");
        for layer in [N_LAYER + 1, u32::MAX] {
            llama_set_embeddings_layer_inp(c.get(), layer, true);
            one_error("no such layer", "layer");
            assert!(llama_get_embeddings_layer_inp(c.get(), layer).is_null());
        }
        llama_set_embeddings_layer_inp(c.get(), N_LAYER, true);
        llama_set_embeddings_nextn(c.get(), true, true);
        llama_set_nextn_layer_offset(c.get(), i32::MIN);
        assert!(llama_get_embeddings_layer_inp(c.get(), N_LAYER).is_null() && llama_get_embeddings_nextn(c.get()).is_null(), "not yet");
        assert_eq!(c.decode(&Batch::new(&[1, 2, 3])), 0);
        let next = llama_get_embeddings_nextn_ith(c.get(), -1);
        assert!(!next.is_null() && !llama_get_embeddings_layer_inp(c.get(), N_LAYER).is_null());
        assert!(std::slice::from_raw_parts(next, N_EMBD as usize).iter().all(|x| x.is_finite()));
        for i in [3, -4, i32::MAX, i32::MIN] {
            assert!(llama_get_embeddings_nextn_ith(c.get(), i).is_null());
        }
        assert_eq!(c.decode(&Batch::new(&[1]).at(9)), -1);
        assert_eq!(llama_get_embeddings_nextn_ith(c.get(), -1), next, "a refused batch changes nothing");
        let n = llama_model_get_tok_embd(m.get(), null_mut());
        assert_eq!(n as usize, N_EMBD as usize * N_VOCAB);
        let mut table = vec![f32::NAN; n as usize];
        assert_eq!(llama_model_get_tok_embd(m.get(), table.as_mut_ptr()), n);
        assert!(table.iter().all(|x| x.is_finite()));
    }
    said();
}
