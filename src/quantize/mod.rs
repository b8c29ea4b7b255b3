//! A model file with other tensor types: which type each tensor gets (`choose`), what the new files hold (`plan`), their bytes (`write`).
//! Knows files and formats; of the model only the few numbers that the choice of types asks for.
//!
//! The files are the original's, byte for byte; `README.md` says where they are not. Memory is bounded: tensors pass through by slabs of rows.
#![forbid(unsafe_code)]
mod choose;
mod names;
mod plan;
mod sizes;
mod write;

use crate::gguf::{DType, LoadMode, Meta, Override, Source};
use crate::grammar::Pattern;
use plan::Plan;
use platform::{Error, Result, log};
use std::collections::HashMap;
use std::path::Path;
pub use write::{read_row, write_row};

/// Whether rows of this type are written with importance only.
pub fn needs_importance(ty: DType) -> bool {
    kernels::quant::needs_importance(ty)
}

/// What `llama_model_quantize_params` asks for.
#[derive(Default)]
pub struct Params {
    /// 0: as many as there are.
    pub n_threads: usize,
    /// `llama_ftype`'s number.
    pub ftype: u32,
    pub output: Option<DType>,
    pub embedding: Option<DType>,
    pub allow_requantize: bool,
    /// Leave `output.weight` as it is.
    pub keep_output: bool,
    pub only_copy: bool,
    pub pure: bool,
    pub keep_split: bool,
    pub dry_run: bool,
    pub importance: Option<Importance>,
    pub overrides: Vec<Override>,
    /// The first pattern that is found in a tensor's name says its type.
    pub types: Vec<(Pattern, DType)>,
    /// Layers that are left out.
    pub prune: Vec<i32>,
    /// Most bytes of rows in memory at once; 0: as we like.
    pub max_bytes: usize,
}

/// The importance of columns by tensor: one number per column, for each expert.
#[derive(Default)]
pub struct Importance(HashMap<String, Vec<f32>>);

impl Importance {
    /// The first entry of a name counts. Numbers have to be finite.
    pub fn add(&mut self, name: String, values: Vec<f32>) -> Result<()> {
        match values.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(Error::invalid(format!("imatrix contains non-finite value {v} for {name}"))),
            None => {
                self.0.entry(name).or_insert(values);
                Ok(())
            }
        }
    }
    fn get(&self, name: &str) -> Option<&[f32]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

/// Writes the model at `input` to `output`, or only says what it would be. After an error the files at `output` are as they were.
pub fn quantize(input: &Path, output: &Path, params: &Params) -> Result<()> {
    let mut source = Source::open(input, LoadMode::Mmap)?;
    source.meta_mut().apply_overrides(&params.overrides);
    if let Some(importance) = &params.importance {
        log::info(format_args!("have importance matrix data with {} entries", importance.0.len()));
    }
    let plan = Plan::new(source.gguf(), params)?;
    write::run(&source, output, &plan, params)
}

/// Writes a loaded model as one file: its key/values with what overrode them, and its tensors, which `origin` reads.
pub fn save(meta: &Meta, origin: &Source, output: &Path) -> Result<()> {
    let plan = Plan::same(meta, &origin.gguf().tensors);
    write::run(origin, output, &plan, &Params { only_copy: true, ..Params::default() })
}
