//! Where Rust puts the fields of the C structs: a table for `layout.rs`, which knows what the contract wants.
use llama::capi::types::*;
use std::mem::offset_of;

pub struct Row {
    pub name: &'static str,
    pub size: usize,
    pub align: usize,
    pub fields: Vec<(&'static str, usize)>,
}

fn row<T>(name: &'static str, fields: &[(&'static str, usize)]) -> Row {
    Row { name, size: size_of::<T>(), align: align_of::<T>(), fields: fields.to_vec() }
}

pub fn table() -> Vec<Row> {
    vec![
        row::<llama_batch>(
            "llama_batch",
            &[
                ("n_tokens", offset_of!(llama_batch, n_tokens)),
                ("token", offset_of!(llama_batch, token)),
                ("embd", offset_of!(llama_batch, embd)),
                ("pos", offset_of!(llama_batch, pos)),
                ("n_seq_id", offset_of!(llama_batch, n_seq_id)),
                ("seq_id", offset_of!(llama_batch, seq_id)),
                ("logits", offset_of!(llama_batch, logits)),
            ],
        ),
        row::<llama_chat_message>(
            "llama_chat_message",
            &[("role", offset_of!(llama_chat_message, role)), ("content", offset_of!(llama_chat_message, content))],
        ),
        row::<llama_context_params>(
            "llama_context_params",
            &[
                ("n_ctx", offset_of!(llama_context_params, n_ctx)),
                ("n_batch", offset_of!(llama_context_params, n_batch)),
                ("n_ubatch", offset_of!(llama_context_params, n_ubatch)),
                ("n_seq_max", offset_of!(llama_context_params, n_seq_max)),
                ("n_rs_seq", offset_of!(llama_context_params, n_rs_seq)),
                ("n_outputs_max", offset_of!(llama_context_params, n_outputs_max)),
                ("n_outputs_max_per_seq", offset_of!(llama_context_params, n_outputs_max_per_seq)),
                ("n_threads", offset_of!(llama_context_params, n_threads)),
                ("n_threads_batch", offset_of!(llama_context_params, n_threads_batch)),
                ("ctx_type", offset_of!(llama_context_params, ctx_type)),
                ("rope_scaling_type", offset_of!(llama_context_params, rope_scaling_type)),
                ("pooling_type", offset_of!(llama_context_params, pooling_type)),
                ("attention_type", offset_of!(llama_context_params, attention_type)),
                ("flash_attn_type", offset_of!(llama_context_params, flash_attn_type)),
                ("rope_freq_base", offset_of!(llama_context_params, rope_freq_base)),
                ("rope_freq_scale", offset_of!(llama_context_params, rope_freq_scale)),
                ("yarn_ext_factor", offset_of!(llama_context_params, yarn_ext_factor)),
                ("yarn_attn_factor", offset_of!(llama_context_params, yarn_attn_factor)),
                ("yarn_beta_fast", offset_of!(llama_context_params, yarn_beta_fast)),
                ("yarn_beta_slow", offset_of!(llama_context_params, yarn_beta_slow)),
                ("yarn_orig_ctx", offset_of!(llama_context_params, yarn_orig_ctx)),
                ("defrag_thold", offset_of!(llama_context_params, defrag_thold)),
                ("cb_eval", offset_of!(llama_context_params, cb_eval)),
                ("cb_eval_user_data", offset_of!(llama_context_params, cb_eval_user_data)),
                ("type_k", offset_of!(llama_context_params, type_k)),
                ("type_v", offset_of!(llama_context_params, type_v)),
                ("abort_callback", offset_of!(llama_context_params, abort_callback)),
                ("abort_callback_data", offset_of!(llama_context_params, abort_callback_data)),
                ("embeddings", offset_of!(llama_context_params, embeddings)),
                ("offload_kqv", offset_of!(llama_context_params, offload_kqv)),
                ("no_perf", offset_of!(llama_context_params, no_perf)),
                ("op_offload", offset_of!(llama_context_params, op_offload)),
                ("swa_full", offset_of!(llama_context_params, swa_full)),
                ("kv_unified", offset_of!(llama_context_params, kv_unified)),
                ("samplers", offset_of!(llama_context_params, samplers)),
                ("n_samplers", offset_of!(llama_context_params, n_samplers)),
                ("ctx_other", offset_of!(llama_context_params, ctx_other)),
            ],
        ),
        row::<llama_embd>(
            "llama_embd",
            &[
                ("data", offset_of!(llama_embd, data)),
                ("n_rows", offset_of!(llama_embd, n_rows)),
                ("n_embd", offset_of!(llama_embd, n_embd)),
            ],
        ),
        row::<llama_logit_bias>(
            "llama_logit_bias",
            &[("token", offset_of!(llama_logit_bias, token)), ("bias", offset_of!(llama_logit_bias, bias))],
        ),
        row::<llama_model_imatrix_data>(
            "llama_model_imatrix_data",
            &[
                ("name", offset_of!(llama_model_imatrix_data, name)),
                ("data", offset_of!(llama_model_imatrix_data, data)),
                ("size", offset_of!(llama_model_imatrix_data, size)),
            ],
        ),
        row::<llama_model_kv_override>(
            "llama_model_kv_override",
            &[
                ("tag", offset_of!(llama_model_kv_override, tag)),
                ("key", offset_of!(llama_model_kv_override, key)),
                ("u", offset_of!(llama_model_kv_override, u)),
            ],
        ),
        row::<llama_model_params>(
            "llama_model_params",
            &[
                ("devices", offset_of!(llama_model_params, devices)),
                ("tensor_buft_overrides", offset_of!(llama_model_params, tensor_buft_overrides)),
                ("n_gpu_layers", offset_of!(llama_model_params, n_gpu_layers)),
                ("split_mode", offset_of!(llama_model_params, split_mode)),
                ("load_mode", offset_of!(llama_model_params, load_mode)),
                ("lazy_mode", offset_of!(llama_model_params, lazy_mode)),
                ("main_gpu", offset_of!(llama_model_params, main_gpu)),
                ("tensor_split", offset_of!(llama_model_params, tensor_split)),
                ("progress_callback", offset_of!(llama_model_params, progress_callback)),
                ("progress_callback_user_data", offset_of!(llama_model_params, progress_callback_user_data)),
                ("kv_overrides", offset_of!(llama_model_params, kv_overrides)),
                ("vocab_only", offset_of!(llama_model_params, vocab_only)),
                ("check_tensors", offset_of!(llama_model_params, check_tensors)),
                ("use_extra_bufts", offset_of!(llama_model_params, use_extra_bufts)),
                ("no_host", offset_of!(llama_model_params, no_host)),
                ("no_alloc", offset_of!(llama_model_params, no_alloc)),
                ("load_mtp", offset_of!(llama_model_params, load_mtp)),
            ],
        ),
        row::<llama_model_quantize_params>(
            "llama_model_quantize_params",
            &[
                ("nthread", offset_of!(llama_model_quantize_params, nthread)),
                ("ftype", offset_of!(llama_model_quantize_params, ftype)),
                ("output_tensor_type", offset_of!(llama_model_quantize_params, output_tensor_type)),
                ("token_embedding_type", offset_of!(llama_model_quantize_params, token_embedding_type)),
                ("allow_requantize", offset_of!(llama_model_quantize_params, allow_requantize)),
                ("quantize_output_tensor", offset_of!(llama_model_quantize_params, quantize_output_tensor)),
                ("only_copy", offset_of!(llama_model_quantize_params, only_copy)),
                ("pure", offset_of!(llama_model_quantize_params, pure)),
                ("keep_split", offset_of!(llama_model_quantize_params, keep_split)),
                ("dry_run", offset_of!(llama_model_quantize_params, dry_run)),
                ("imatrix", offset_of!(llama_model_quantize_params, imatrix)),
                ("kv_overrides", offset_of!(llama_model_quantize_params, kv_overrides)),
                ("tt_overrides", offset_of!(llama_model_quantize_params, tt_overrides)),
                ("prune_layers", offset_of!(llama_model_quantize_params, prune_layers)),
                ("max_buf_size", offset_of!(llama_model_quantize_params, max_buf_size)),
            ],
        ),
        row::<llama_model_tensor_buft_override>(
            "llama_model_tensor_buft_override",
            &[
                ("pattern", offset_of!(llama_model_tensor_buft_override, pattern)),
                ("buft", offset_of!(llama_model_tensor_buft_override, buft)),
            ],
        ),
        row::<llama_model_tensor_override>(
            "llama_model_tensor_override",
            &[("pattern", offset_of!(llama_model_tensor_override, pattern)), ("type", offset_of!(llama_model_tensor_override, r#type))],
        ),
        row::<llama_opt_params>(
            "llama_opt_params",
            &[
                ("n_ctx_train", offset_of!(llama_opt_params, n_ctx_train)),
                ("param_filter", offset_of!(llama_opt_params, param_filter)),
                ("param_filter_ud", offset_of!(llama_opt_params, param_filter_ud)),
                ("get_opt_pars", offset_of!(llama_opt_params, get_opt_pars)),
                ("get_opt_pars_ud", offset_of!(llama_opt_params, get_opt_pars_ud)),
                ("optimizer_type", offset_of!(llama_opt_params, optimizer_type)),
            ],
        ),
        row::<llama_perf_context_data>(
            "llama_perf_context_data",
            &[
                ("t_start_ms", offset_of!(llama_perf_context_data, t_start_ms)),
                ("t_load_ms", offset_of!(llama_perf_context_data, t_load_ms)),
                ("t_p_eval_ms", offset_of!(llama_perf_context_data, t_p_eval_ms)),
                ("t_eval_ms", offset_of!(llama_perf_context_data, t_eval_ms)),
                ("n_p_eval", offset_of!(llama_perf_context_data, n_p_eval)),
                ("n_eval", offset_of!(llama_perf_context_data, n_eval)),
                ("n_reused", offset_of!(llama_perf_context_data, n_reused)),
            ],
        ),
        row::<llama_perf_sampler_data>(
            "llama_perf_sampler_data",
            &[
                ("t_sample_ms", offset_of!(llama_perf_sampler_data, t_sample_ms)),
                ("n_sample", offset_of!(llama_perf_sampler_data, n_sample)),
            ],
        ),
        row::<llama_sampler>("llama_sampler", &[("iface", offset_of!(llama_sampler, iface)), ("ctx", offset_of!(llama_sampler, ctx))]),
        row::<llama_sampler_chain_params>("llama_sampler_chain_params", &[("no_perf", offset_of!(llama_sampler_chain_params, no_perf))]),
        row::<llama_sampler_data>(
            "llama_sampler_data",
            &[
                ("logits", offset_of!(llama_sampler_data, logits)),
                ("probs", offset_of!(llama_sampler_data, probs)),
                ("sampled", offset_of!(llama_sampler_data, sampled)),
                ("candidates", offset_of!(llama_sampler_data, candidates)),
            ],
        ),
        row::<llama_sampler_i>(
            "llama_sampler_i",
            &[
                ("name", offset_of!(llama_sampler_i, name)),
                ("accept", offset_of!(llama_sampler_i, accept)),
                ("apply", offset_of!(llama_sampler_i, apply)),
                ("reset", offset_of!(llama_sampler_i, reset)),
                ("clone", offset_of!(llama_sampler_i, clone)),
                ("free", offset_of!(llama_sampler_i, free)),
                ("backend_init", offset_of!(llama_sampler_i, backend_init)),
                ("backend_accept", offset_of!(llama_sampler_i, backend_accept)),
                ("backend_apply", offset_of!(llama_sampler_i, backend_apply)),
                ("backend_set_input", offset_of!(llama_sampler_i, backend_set_input)),
                ("backend_reset", offset_of!(llama_sampler_i, backend_reset)),
                ("copy_state", offset_of!(llama_sampler_i, copy_state)),
            ],
        ),
        row::<llama_sampler_seq_config>(
            "llama_sampler_seq_config",
            &[("seq_id", offset_of!(llama_sampler_seq_config, seq_id)), ("sampler", offset_of!(llama_sampler_seq_config, sampler))],
        ),
        row::<llama_token_data>(
            "llama_token_data",
            &[
                ("id", offset_of!(llama_token_data, id)),
                ("logit", offset_of!(llama_token_data, logit)),
                ("p", offset_of!(llama_token_data, p)),
            ],
        ),
        row::<llama_token_data_array>(
            "llama_token_data_array",
            &[
                ("data", offset_of!(llama_token_data_array, data)),
                ("size", offset_of!(llama_token_data_array, size)),
                ("selected", offset_of!(llama_token_data_array, selected)),
                ("sorted", offset_of!(llama_token_data_array, sorted)),
            ],
        ),
    ]
}
