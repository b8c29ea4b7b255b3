//! Whether a file's numbers make sense together: what holds here, nobody asks again.
use super::hparams::{HParams, MAX_EXPERTS, MAX_GROUPS, MAX_LAYERS};
use super::spec::{Arch, Flow};
use platform::{Error, Result};

impl HParams {
    pub(super) fn check(&self, arch: &Arch) -> Result<()> {
        let bad = |what: String| Err(Error::invalid(what));
        // Bounds that keep every later product of sizes inside 64 bits, far above any real model.
        const WIDE: u32 = 1 << 20;
        const ROWS: u64 = 1 << 24;
        let sizes = [("n_embd", self.n_embd), ("n_embd_head_k", self.n_embd_head_k), ("n_embd_head_v", self.n_embd_head_v)];
        let swa = [("n_embd_head_k_swa", self.head_k_swa), ("n_embd_head_v_swa", self.head_v_swa)];
        if let Some((name, v)) = sizes.into_iter().chain(swa).find(|(_, v)| *v == 0 || *v > WIDE) {
            return bad(format!("{name} is {v}"));
        }
        let ranks = [("q_lora_rank", self.q_rank), ("kv_lora_rank", self.kv_rank), ("n_embd_per_layer", self.n_embd_per_layer)];
        let swa = [("kv_lora_rank_swa", self.kv_rank_swa), ("n_embd_head_k_mla_swa", self.head_k_mla_swa)];
        let swa = swa.into_iter().chain([("n_embd_head_v_mla_swa", self.head_v_mla_swa), ("hyper_connection.count", self.n_hyper)]);
        let mla = [("n_embd_head_k_mla", self.head_k_mla), ("n_embd_head_v_mla", self.head_v_mla), ("n_ff_chexp", self.n_ff_chexp)];
        if let Some((name, v)) = ranks.into_iter().chain(mla).chain(swa).find(|(_, v)| *v > WIDE) {
            return bad(format!("{name} is {v}"));
        }
        for il in 0..self.n_layer as usize {
            let (h, kv, ff) = (self.n_head[il], self.n_head_kv[il], self.n_ff[il]);
            let lacks = arch.may_lack && (h == 0 || kv == 0);
            let whole = h > 0 && kv > 0 && h.is_multiple_of(kv);
            if !(lacks || whole) || h > WIDE || ff > 1 << 24 {
                return bad(format!("layer {il}: {h} heads, {kv} KV heads, FFN width {ff}"));
            }
            let head = [self.n_embd_head_v, self.head_k_swa, self.head_v_swa, self.head_k_mla, self.head_v_mla, self.kv_rank];
            let swa = [self.kv_rank_swa, self.head_k_mla_swa, self.head_v_mla_swa];
            let head = head.into_iter().chain(swa).fold(self.n_embd_head_k, u32::max);
            if u64::from(h) * u64::from(head) > ROWS {
                return bad(format!("layer {il}: {h} heads of {head}"));
            }
        }
        if self.n_rot > self.n_embd_head_k || !self.n_rot.is_multiple_of(2) {
            return bad(format!("n_rot is {} of a head of {}", self.n_rot, self.n_embd_head_k));
        }
        if self.n_rot_swa > self.head_k_swa || !self.n_rot_swa.is_multiple_of(2) {
            return bad(format!("n_rot of sliding layers is {} of a head of {}", self.n_rot_swa, self.head_k_swa));
        }
        if arch.rot_is_head && self.n_rot != self.n_embd_head_k {
            return bad(format!("invalid n_rot: {}, expected {}", self.n_rot, self.n_embd_head_k));
        }
        if self.n_expert > MAX_EXPERTS || self.n_expert_used > self.n_expert || (self.n_expert > 0 && self.n_expert_used == 0) {
            return bad(format!("{} of {} experts", self.n_expert_used, self.n_expert));
        }
        if self.n_layer_dec == 0 || self.n_layer_dec > MAX_LAYERS {
            return bad(format!("{} layers of a decoder", self.n_layer_dec));
        }
        if arch.embed.types && self.n_token_types == 0 {
            return bad("key tokenizer.ggml.token_type_count is 0 or missing".into());
        }
        if self.n_token_types > WIDE || self.n_rel_buckets > WIDE || self.dense_feat.iter().any(|n| *n > WIDE) {
            return bad(format!("{} token types, {} buckets", self.n_token_types, self.n_rel_buckets));
        }
        let (nope, mla) = (self.head_k_mla.max(1), self.head_k_mla > 0 && self.head_v_mla > 0);
        let swa = self.kv_rank_swa > 0 && self.head_k_mla_swa <= self.n_rot;
        if swa || mla && self.kv_rank > 0 && nope <= self.n_rot {
            return bad(format!("n_rot is {} of a head of {nope}", self.n_rot));
        }
        if arch.flow == Flow::Hyper && !(1..=64).contains(&self.n_hyper) {
            return bad(format!("hyper_connection.count is {}", self.n_hyper));
        }
        if self.experts_per_group > self.n_expert {
            return bad(format!("groups of {} of {} experts", self.experts_per_group, self.n_expert));
        }
        if self.n_ctx_train == 0 {
            return bad("n_ctx_train is 0".into());
        }
        if self.rope.temperature_scale != 0.0 && self.rope.n_ctx_orig == 0 {
            return bad("attention temperature over an original context of 0".into());
        }
        self.check_index()?;
        self.check_experts()
    }

    fn check_index(&self) -> Result<()> {
        let (ix, bad) = (&self.index, |what: String| Err(Error::invalid(what)));
        if ix.top_k == 0 {
            return Ok(());
        }
        // What one head's norm has room for, and as many heads as attention itself may have rows.
        const WIDEST: u32 = 1024;
        const LONGEST: u64 = 1 << 30;
        if ix.n_head == 0 || ix.n_head > WIDEST || ix.head_size == 0 || ix.head_size > WIDEST {
            return bad(format!("an index of {} heads of {}, 1 to {WIDEST} of each are possible", ix.n_head, ix.head_size));
        }
        if self.n_rot > ix.head_size {
            return bad(format!("n_rot is {} of an index's head of {}", self.n_rot, ix.head_size));
        }
        if ix.block == 0 && self.q_rank == 0 {
            return bad("an index without the narrow vector that its queries are made of (q_lora_rank)".into());
        }
        if ix.block > 0 && u64::from(ix.n_head) * u64::from(ix.top_k) > LONGEST {
            return bad(format!("{} heads of an index pick {} blocks each", ix.n_head, ix.top_k));
        }
        let lacks = |il: &usize| !self.is_swa[*il] && ix.block == 0;
        if let Some(il) = (0..self.n_layer as usize).find(lacks).filter(|il| !ix.full[*il]) {
            return bad(format!("layer {il} has no index, and no layer before it has one"));
        }
        let sparse = self.n_layer_dense_lead as usize..self.n_layer as usize;
        match sparse.filter(|_| ix.block > 0).find(|il| self.n_head_kv[*il] != ix.n_head) {
            Some(il) => bad(format!("layer {il}: {} KV heads, but {} of the index", self.n_head_kv[il], ix.n_head)),
            None => Ok(()),
        }
    }

    fn check_experts(&self) -> Result<()> {
        let bad = |what: String| Err(Error::invalid(what));
        const WIDEST: u32 = 1 << 24;
        if self.n_ff_exp > WIDEST
            || self.n_ff_shexp > WIDEST
            || self.n_ff_exp.checked_mul(self.n_expert_shared.max(1)).is_none_or(|n| n > WIDEST)
        {
            let shared = (self.n_expert_shared, self.n_ff_shexp);
            return bad(format!("expert FFN width {}, {} shared, width {}", self.n_ff_exp, shared.0, shared.1));
        }
        let (n, used) = (self.n_expert_groups, self.n_group_used);
        if n > 1 && (n > MAX_GROUPS || !self.n_expert.is_multiple_of(n) || used == 0 || used >= n || self.n_expert < 2 * n) {
            return bad(format!("{used} of {n} groups of {} experts", self.n_expert));
        }
        if self.expert_gating_func > 3 {
            return Err(Error::unsupported(format!("expert gating function {}", self.expert_gating_func)));
        }
        Ok(())
    }
}
