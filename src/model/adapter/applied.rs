//! What a context has set, and what a plan has to know of it.
use super::lora::weight;
use super::{Control, Lora};
use crate::backend::{LowRank, Weight, WeightId};
use crate::model::Model;
use kernels::DType;
use platform::{Error, Result};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

#[derive(Clone, Default)]
pub struct Applied {
    /// In order of loading, none of them with scale 0.
    loras: Vec<(Arc<Lora>, f32)>,
    pub control: Control,
}

/// By the weights of a model what is added to them: numbers of weights behind the model's own.
#[derive(Clone, Debug, Default)]
pub struct Adapted {
    matrices: HashMap<WeightId, Vec<LowRank>>,
    tables: HashMap<WeightId, Vec<LowRank>>,
    /// By backend and layer.
    directions: HashMap<(usize, usize), WeightId>,
}

impl Adapted {
    /// Beside products with a matrix.
    pub fn beside(&self, w: WeightId) -> &[LowRank] {
        self.matrices.get(&w).map_or(&[], Vec::as_slice)
    }
    /// The narrow matrices of all.
    pub fn narrow(&self) -> impl Iterator<Item = WeightId> + '_ {
        self.matrices.values().chain(self.tables.values()).flatten().map(|l| l.a)
    }
    /// Beside rows of a table.
    pub fn of_table(&self, w: WeightId) -> &[LowRank] {
        self.tables.get(&w).map_or(&[], Vec::as_slice)
    }
    /// What is added to a layer's output on a backend.
    pub fn direction(&self, place: usize, il: usize) -> Option<WeightId> {
        self.directions.get(&(place, il)).copied()
    }
}

impl Applied {
    /// With these adapters; of one that is named twice the first scale counts.
    pub fn with_loras(&self, model: &Arc<Model>, list: Vec<(Arc<Lora>, f32)>) -> Result<Applied> {
        let mut loras: Vec<(Arc<Lora>, f32)> = Vec::new();
        for (lora, scale) in list {
            if !lora.is_of(model) {
                return Err(Error::invalid("the adapter was loaded for another model"));
            }
            if !scale.is_finite() {
                return Err(Error::invalid(format!("an adapter's scale is {scale}")));
            }
            if scale != 0.0 && loras.iter().all(|l| l.0.number != lora.number) {
                loras.push((lora, scale));
            }
        }
        loras.sort_by_key(|l| l.0.number);
        Ok(Applied { loras, control: self.control.clone() })
    }

    /// Whether both compute the same.
    pub fn is_same(&self, other: &Applied) -> bool {
        let loras = |a: &Applied| a.loras.iter().map(|l| (l.0.number, l.1.to_bits())).collect::<Vec<_>>();
        loras(self) == loras(other) && (self.control == other.control || self.control.is_off() && other.control.is_off())
    }

    pub fn is_empty(&self) -> bool {
        self.loras.is_empty() && self.control.is_off()
    }

    /// The model's weights with what is added behind them.
    pub fn bind(&self, m: &Model) -> Result<(Arc<Vec<Weight>>, Adapted)> {
        if self.is_empty() {
            return Ok((m.weights.clone(), Adapted::default()));
        }
        let (mut weights, mut adapted) = (m.weights.to_vec(), Adapted::default());
        let mut push = |w: Weight| {
            weights.push(w);
            WeightId(weights.len() as u32 - 1)
        };
        for (lora, scale) in &self.loras {
            for p in &lora.pairs {
                let (a, b, scale) = (push(p.a.clone()), push(p.b.clone()), lora.scale(p, *scale));
                for (id, first) in &p.of {
                    let low = LowRank { a, b, rank: p.rank, first: *first, scale };
                    let of = if p.is_table { &mut adapted.tables } else { &mut adapted.matrices };
                    of.entry(*id).or_default().push(low);
                }
            }
        }
        // An encoder's layers are counted like its decoder's.
        let (decoder, encoder) = m.place.split_at(m.layers.len());
        for at in [decoder, encoder].into_iter().flat_map(|p| p.iter().enumerate().map(|(il, place)| (*place, il))) {
            if let Some(row) = self.control.of(at.1).filter(|_| !adapted.directions.contains_key(&at)) {
                adapted.directions.insert(at, push(direction(m, at.0, row)?));
            }
        }
        Ok((Arc::new(weights), adapted))
    }

    /// What decides bits, as text.
    pub fn identity(&self) -> String {
        let mut s = String::new();
        for (lora, scale) in &self.loras {
            let _ = writeln!(s, "lora {:032x} scale {:08x}", lora.fingerprint, scale.to_bits());
        }
        for (il, row) in self.control.all() {
            let bytes: Vec<u8> = row.iter().flat_map(|v| v.to_bits().to_le_bytes()).collect();
            let _ = writeln!(s, "direction of layer {il} {:032x}", platform::hash::name(&bytes));
        }
        s
    }
}

fn direction(m: &Model, place: usize, row: &[f32]) -> Result<Weight> {
    let bytes: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
    weight(m.backends[place].as_ref(), "control vector", DType::F32, [row.len() as u32, 1, 1], &bytes)
}
