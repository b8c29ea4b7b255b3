//! What the new files hold: key/values, tensors, their order, names and types. Nothing is read or written yet.
use super::choose::{Chooser, asks_for_importance};
use super::sizes::Sizes;
use super::{Params, names};
use crate::gguf::{DType, Gguf, Meta, NewTensor, Override, OverrideValue, TensorInfo, Value};
use platform::{Error, Result, log};
use std::collections::BTreeMap;

/// Version of the quantised formats, as files state it.
const QUANTIZATION_VERSION: u32 = 2;
const SPLIT_NO: &str = "split.no";
const SPLIT_COUNT: &str = "split.count";
const SPLIT_TENSORS: &str = "split.tensors.count";
const PART_KEYS: [&str; 3] = [SPLIT_NO, SPLIT_COUNT, SPLIT_TENSORS];

/// A tensor of the new model.
pub struct Item {
    pub from: TensorInfo,
    pub name: String,
    pub ty: DType,
    pub asks_for_importance: bool,
}

pub struct Plan {
    pub files: Vec<NewFile>,
    /// How many tensors the old model has.
    pub n_before: usize,
    pub fallbacks: usize,
}

#[derive(Default)]
pub struct NewFile {
    pub meta: Meta,
    pub items: Vec<Item>,
}

impl NewFile {
    pub fn tensors(&self) -> Vec<NewTensor> {
        let shape = |t: &TensorInfo| t.shape[..t.shape.iter().rposition(|ne| *ne > 1).map_or(1, |i| i + 1)].to_vec();
        self.items.iter().map(|i| NewTensor { name: i.name.clone(), ty: i.ty, shape: shape(&i.from) }).collect()
    }
}

impl Plan {
    /// One file with the key/values as they were in force, and the tensors as they are.
    pub fn same(meta: &Meta, tensors: &[TensorInfo]) -> Plan {
        let mut kv = meta.kv.clone();
        kv.retain(|(k, _)| !PART_KEYS.contains(&k.as_str()));
        put_overrides(&mut kv, meta.overrides());
        let item = |t: &TensorInfo| Item { from: t.clone(), name: t.name.clone(), ty: t.ty, asks_for_importance: false };
        let file = NewFile { meta: Meta::new(kv), items: tensors.iter().map(item).collect() };
        Plan { files: vec![file], n_before: tensors.len(), fallbacks: 0 }
    }
    pub fn new(old: &Gguf, params: &Params) -> Result<Plan> {
        let sizes = Sizes::of(&old.meta)?;
        let (kept, n_layer) = kept(old, params);
        let mut chooser = Chooser::new(params, &sizes, kept.iter().map(|(_, name)| name.as_str()))?;
        let ftype = if params.only_copy { old.ftype()?.0 } else { params.ftype };
        let n_files = if params.keep_split { kept.iter().map(|(t, _)| usize::from(t.file) + 1).max().unwrap_or(1) } else { 1 };
        let mut files: Vec<NewFile> = (0..n_files).map(|_| NewFile::default()).collect();
        files[0].meta = meta(&old.meta, params, &sizes, ftype, n_layer)?;
        for (from, name) in &kept {
            let ty = chooser.choose(name, from)?;
            let asks = asks_for_importance(name, ty, ftype);
            if asks && ty != from.ty && params.importance.is_none() && !params.dry_run {
                log::error(format_args!("this quantization requires an importance matrix: tensor {name}, target type {}", ty.name()));
                return Err(Error::invalid("this quantization requires an imatrix!"));
            }
            let file = if params.keep_split { usize::from(from.file) } else { 0 };
            files[file].items.push(Item { from: (*from).clone(), name: name.clone(), ty, asks_for_importance: asks });
        }
        put_parts(&mut files, kept.len());
        Ok(Plan { files, n_before: old.tensors.len(), fallbacks: chooser.fallbacks })
    }
}

/// The tensors that stay, with their names, and how many layers there are if some do not.
fn kept<'a>(old: &'a Gguf, params: &Params) -> (Vec<(&'a TensorInfo, String)>, Option<u32>) {
    let mut tensors: Vec<&TensorInfo> = old.tensors.iter().collect();
    tensors.sort_by_key(|t| names::order(&t.name));
    let mut layers = Layers { gone: &params.prune, numbers: BTreeMap::new(), next: 0 };
    let mut kept: Vec<_> = tensors.into_iter().filter_map(|t| layers.rename(&t.name).map(|name| (t, name))).collect();
    if params.keep_split {
        kept.sort_by_key(|(t, _)| (t.file, t.offset));
    }
    (kept, (!params.prune.is_empty()).then_some(layers.next))
}

/// New numbers for layers where some are left out.
struct Layers<'a> {
    gone: &'a [i32],
    numbers: BTreeMap<i32, Option<u32>>,
    next: u32,
}

impl Layers<'_> {
    /// `None`: the tensor is one of a layer that is left out. Layers come in ascending order.
    fn rename(&mut self, name: &str) -> Option<String> {
        let first = self.gone.first();
        let Some((layer, digits)) = first.and_then(|_| names::layer(name)) else { return Some(name.to_owned()) };
        let (gone, next) = (self.gone, &mut self.next);
        let number = *self.numbers.entry(layer).or_insert_with(|| {
            if gone.contains(&layer) {
                return None;
            }
            // Those before the first that goes keep their numbers, even where one is missing.
            let new = if first.is_some_and(|f| layer < *f) { layer as u32 } else { *next };
            *next = new.saturating_add(1);
            Some(new)
        });
        let renamed = number.map(|n| format!("{}{n}{}", &name[..digits.start], &name[digits.end..]));
        match &renamed {
            None => log::debug(format_args!("pruning tensor {name}")),
            Some(new) if new != name => log::debug(format_args!("tensor {name} remapped to {new}")),
            _ => {}
        }
        renamed
    }
}

/// The key's new value stands at the end, as the original puts it.
fn set(kv: &mut Vec<(String, Value)>, key: &str, value: Value) {
    kv.retain(|(k, _)| k != key);
    kv.push((key.to_owned(), value));
}

fn meta(old: &Meta, params: &Params, sizes: &Sizes, ftype: u32, n_layer: Option<u32>) -> Result<Meta> {
    let mut kv = old.kv.clone();
    set(&mut kv, "general.quantization_version", Value::U32(QUANTIZATION_VERSION));
    set(&mut kv, "general.file_type", Value::U32(ftype));
    kv.retain(|(k, _)| !PART_KEYS.contains(&k.as_str()));
    put_overrides(&mut kv, &params.overrides);
    if let Some(n) = n_layer {
        set(&mut kv, &format!("{}.block_count", sizes.arch), Value::U32(n));
    }
    Ok(Meta::new(kv))
}

fn put_overrides(kv: &mut Vec<(String, Value)>, overrides: &[Override]) {
    for o in overrides {
        let value = match &o.value {
            OverrideValue::Float(v) => Value::F32(*v as f32),
            // The type that readers expect of counts.
            OverrideValue::Int(v) => Value::U32(v.unsigned_abs() as u32),
            OverrideValue::Bool(v) => Value::Bool(*v),
            OverrideValue::Str(v) => Value::Str(v.as_bytes().to_vec()),
        };
        set(kv, &o.key, value);
    }
}

/// Says in each of several files which one it is.
fn put_parts(files: &mut [NewFile], n_tensors: usize) {
    let n = files.len();
    for (i, file) in files.iter_mut().enumerate().filter(|_| n > 1) {
        set(&mut file.meta.kv, SPLIT_NO, Value::U16(i as u16));
        set(&mut file.meta.kv, SPLIT_COUNT, Value::U16(n as u16));
        set(&mut file.meta.kv, SPLIT_TENSORS, Value::I32(n_tensors as i32));
    }
}
