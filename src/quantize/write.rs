//! The bytes of the new files: rows are read, made floats, quantised by several threads and written, a slab at a time. The files appear as a whole.
use super::plan::{Item, NewFile, Plan};
use super::{Importance, Params, names};
use crate::gguf::{DType, Layout, Source, TensorInfo, check_data, split_path};
use kernels::{Isa, float, quant};
use platform::file::Replacement;
use platform::{Error, Result, log, share};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Most bytes of rows in memory where the caller says nothing: as fast as more.
const SLAB: usize = 64 << 20;
/// Elements that are worth handing to a thread.
const JOB: usize = 1 << 16;

/// Where we are, for the log.
struct Report {
    n: usize,
    n_tensors: usize,
    old_bytes: u64,
    new_bytes: u64,
    elements: u64,
}

pub fn run(source: &Source, output: &Path, plan: &Plan, params: &Params) -> Result<()> {
    let mut report = Report { n: 0, n_tensors: plan.n_before, old_bytes: 0, new_bytes: 0, elements: source.gguf().n_elements() };
    if params.dry_run {
        dry_run(plan, params, &mut report)?;
    } else {
        let files: Vec<_> =
            plan.files.iter().enumerate().map(|(i, f)| one_file(source, &path(output, i, plan, params), f, params, &mut report)).collect();
        let files: Vec<Replacement> = files.into_iter().collect::<Result<_>>()?;
        files.into_iter().try_for_each(Replacement::finish)?;
    }
    report.end(plan);
    Ok(())
}

/// Parts are named by the original's rule, even if there is only one.
fn path(output: &Path, i: usize, plan: &Plan, params: &Params) -> PathBuf {
    match params.keep_split {
        true => OsString::from_vec(split_path(output.as_os_str().as_bytes(), i as i32, plan.files.len() as i32)).into(),
        false => output.to_owned(),
    }
}

fn new_bytes(item: &Item) -> Result<u64> {
    crate::gguf::tensor_bytes(item.ty, item.from.shape).map_err(|e| e.within(format_args!("tensor {}", item.name)))
}

fn dry_run(plan: &Plan, params: &Params, report: &mut Report) -> Result<()> {
    let mut asks = false;
    for item in plan.files.iter().flat_map(|f| &f.items) {
        report.tensor(item, new_bytes(item)?);
        asks |= item.ty != item.from.ty && item.asks_for_importance;
    }
    if asks && params.importance.is_none() {
        log::warn("dry run completed successfully, but actually completing this quantization will require an imatrix!");
    }
    Ok(())
}

struct ToFile<'a>(&'a mut Replacement);

impl Write for ToFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // A piece at a time: the file's buffer need not hold a slab.
        let piece = &bytes[..bytes.len().min(1 << 20)];
        let copied = self.0.put(piece.len(), &mut |dst| {
            dst.copy_from_slice(piece);
            Ok(())
        });
        copied.map(|()| piece.len()).map_err(std::io::Error::other)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The file is there, but not under its name yet.
fn one_file(source: &Source, path: &Path, file: &NewFile, params: &Params, report: &mut Report) -> Result<Replacement> {
    let layout = Layout::new(&file.meta, &file.tensors())?;
    let mut out = Replacement::create(path)?;
    let mut items = file.items.iter();
    layout.write(&mut ToFile(&mut out), &mut |_, out| {
        let item = items.next().ok_or_else(|| Error::invalid("more tensors than were planned"))?;
        report.tensor(item, new_bytes(item)?);
        Work::new(source, item, params)?.run(out)
    })?;
    Ok(out)
}

/// One tensor on its way.
struct Work<'a> {
    source: &'a Source,
    item: &'a Item,
    importance: Option<&'a [f32]>,
    n_threads: usize,
    max_bytes: usize,
    /// Elements per row.
    ne0: usize,
    n_rows: usize,
    row_bytes: usize,
    new_row_bytes: usize,
}

impl<'a> Work<'a> {
    fn new(source: &'a Source, item: &'a Item, params: &'a Params) -> Result<Work<'a>> {
        let t = &item.from;
        let too_large = || Error::invalid(format!("tensor {}: too large", t.name));
        let ne0 = usize::try_from(t.shape[0]).map_err(|_| too_large())?;
        let n_rows = usize::try_from(t.elements().checked_div(t.shape[0]).unwrap_or(0)).map_err(|_| too_large())?;
        let bytes = |ty: DType| {
            ty.row_bytes(ne0).ok_or_else(|| Error::invalid(format!("tensor {}: its rows are no whole blocks of {}", t.name, ty.name())))
        };
        let importance = if item.ty == t.ty { None } else { importance_of(item, params.importance.as_ref())? };
        let most = if params.max_bytes == 0 { SLAB } else { params.max_bytes.min(SLAB) };
        let (row_bytes, new_row_bytes) = (bytes(t.ty)?, bytes(item.ty)?);
        Ok(Work { source, item, importance, n_threads: params.n_threads, max_bytes: most, ne0, n_rows, row_bytes, new_row_bytes })
            .and_then(|w| w.may_be_done(params).map(|()| w))
    }

    /// What can be refused before anything is computed.
    fn may_be_done(&self, params: &Params) -> Result<()> {
        let (t, new) = (&self.item.from, self.item.ty);
        if t.ty == new {
            return Ok(());
        }
        if self.importance.is_none() && (self.item.asks_for_importance || quant::needs_importance(new)) {
            return Err(Error::invalid(format!(
                "missing importance matrix for tensor {} in a very low-bit quantization ({}): the result would be garbage",
                self.item.name,
                new.name()
            )));
        }
        if t.ty.is_quantized() && !params.allow_requantize {
            return Err(Error::invalid(format!("requantizing from type {} is disabled", t.ty.name())));
        }
        let known = t.ty.is_quantized() || matches!(t.ty, DType::F32 | DType::F16 | DType::BF16);
        if known { Ok(()) } else { Err(Error::invalid(format!("cannot dequantize/convert tensor type {}", t.ty.name()))) }
    }

    fn run(&self, out: &mut dyn Write) -> Result<()> {
        let same = self.item.ty == self.item.from.ty;
        let per_row = self.row_bytes + if same { 0 } else { self.new_row_bytes };
        let slab = (self.max_bytes / per_row.max(1)).clamp(1, self.n_rows.max(1));
        let (mut read, mut new) = (Vec::new(), Vec::new());
        for first in (0..self.n_rows).step_by(slab) {
            let n = slab.min(self.n_rows - first);
            let old = self.rows(first, n, &mut read)?;
            if same {
                self.each_job(n, |rows| check_data(&self.item.from, &old[rows.start * self.row_bytes..rows.end * self.row_bytes]))?;
                out.write_all(old).map_err(|e| Error::io("cannot write", e))?;
            } else {
                grow(&mut new, n * self.new_row_bytes)?;
                self.quantize(first, old, &mut new[..n * self.new_row_bytes])?;
                out.write_all(&new[..n * self.new_row_bytes]).map_err(|e| Error::io("cannot write", e))?;
            }
        }
        Ok(())
    }

    /// Rows as they are, from the map or through a buffer.
    fn rows<'b>(&'b self, first: usize, n: usize, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        let (at, len) = (first * self.row_bytes, n * self.row_bytes);
        if let Some(all) = self.source.tensor_bytes(&self.item.from) {
            return all.get(at..at + len).ok_or_else(|| Error::invalid(format!("tensor {}: too short", self.item.name)));
        }
        grow(buffer, len)?;
        self.source.read_range(&self.item.from, at as u64, &mut buffer[..len])?;
        Ok(&buffer[..len])
    }

    fn rows_per_job(&self) -> usize {
        (JOB / self.ne0.max(1)).max(1)
    }

    fn each_job(&self, n: usize, f: impl Fn(std::ops::Range<usize>) -> Result<()> + Sync) -> Result<()> {
        let step = self.rows_per_job();
        let jobs: Vec<_> = (0..n).step_by(step).map(|i| i..(i + step).min(n)).collect();
        share::share_by(self.n_threads, &jobs, || (), |(), rows| f(rows.clone()))
    }

    fn quantize(&self, first: usize, old: &[u8], new: &mut [u8]) -> Result<()> {
        let step = self.rows_per_job();
        let jobs: Vec<_> = new.chunks_mut(step * self.new_row_bytes).enumerate().map(|(i, out)| (i * step, Mutex::new(out))).collect();
        let floats = || platform::error::try_zeroed::<f32>(self.ne0, "floats of a row");
        share::share_by(self.n_threads, &jobs, floats, |row, (i, out)| {
            let row = row.as_mut().map_err(|e| e.clone())?;
            let mut out = out.lock().unwrap_or_else(|p| p.into_inner());
            let old = &old[i * self.row_bytes..];
            check_data(&self.item.from, &old[..out.len() / self.new_row_bytes * self.row_bytes])?;
            for (r, (old, out)) in old.chunks_exact(self.row_bytes).zip(out.chunks_exact_mut(self.new_row_bytes)).enumerate() {
                self.one_row(first + i + r, old, row, out)?;
            }
            let made = TensorInfo { ty: self.item.ty, ..self.item.from.clone() };
            check_data(&made, &out).map_err(|e| e.within("quantized data validation failed"))
        })
    }

    fn one_row(&self, r: usize, old: &[u8], row: &mut [f32], out: &mut [u8]) -> Result<()> {
        let (t, new) = (&self.item.from, self.item.ty);
        let no = |what: &str, ty: DType| Error::invalid(format!("tensor {}: {} {what}", t.name, ty.name()));
        if !read_row(t.ty, old, row) {
            return Err(no("cannot be read as floats", t.ty));
        }
        let expert = r / (t.shape[1] as usize).max(1);
        let importance = self.importance.and_then(|w| w.chunks_exact(self.ne0).nth(expert));
        if write_row(new, row, importance, out) { Ok(()) } else { Err(no("cannot be written", new)) }
    }
}

/// A row of any type as floats; false: the lengths do not fit, or nothing reads this type.
pub fn read_row(ty: DType, row: &[u8], out: &mut [f32]) -> bool {
    ty.row_bytes(out.len()) == Some(row.len()) && (float::table(Isa::detect()).decode_row(ty, row, out) || quant::to_f32(ty, row, out))
}

/// Floats as a row of any type; false: the lengths do not fit, nothing writes this type, or it asks for an importance that is not there.
pub fn write_row(ty: DType, x: &[f32], importance: Option<&[f32]>, out: &mut [u8]) -> bool {
    match ty {
        DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0 => {
            ty.row_bytes(x.len()) == Some(out.len()) && float::table(Isa::detect()).encode_row(ty, x, out)
        }
        _ => quant::quantize(ty, x, importance, out),
    }
}

fn grow(buffer: &mut Vec<u8>, n: usize) -> Result<()> {
    if buffer.len() < n {
        *buffer = platform::error::try_zeroed(n, "rows of a tensor")?;
    }
    Ok(())
}

/// A number per column and expert; one of another size is an error, but for the embeddings, which never have a fitting one.
fn importance_of<'a>(item: &Item, all: Option<&'a Importance>) -> Result<Option<&'a [f32]>> {
    let Some(all) = all else { return Ok(None) };
    let t = &item.from;
    let Some(found) = all.get(&t.name) else {
        log::info(format_args!("did not find weights for {}", item.name));
        return Ok(None);
    };
    let wanted = t.shape[0] * t.shape[2];
    if found.len() as u64 == wanted {
        return Ok(Some(found));
    }
    let text = format!("imatrix size {} is different from tensor size {wanted} for {}", found.len(), item.name);
    match names::Kind::of(&item.name) {
        names::Kind::Embedding => {
            log::info(text);
            Ok(None)
        }
        _ => Err(Error::invalid(text)),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Report {
    fn tensor(&mut self, item: &Item, new_bytes: u64) {
        self.n += 1;
        self.old_bytes += item.from.bytes;
        self.new_bytes += new_bytes;
        let shape = item.from.shape.map(|ne| format!("{ne:5}")).join(", ");
        let head = format!("[{:4}/{:4}] {:<36} - [{shape}], type = {:>6}, ", self.n, self.n_tensors, item.name, item.from.ty.name());
        match item.ty == item.from.ty {
            true => log::info(format_args!("{head}size = {:8.3} MiB", mib(new_bytes))),
            false => log::info(format_args!(
                "{head}converting to {} .. size = {:8.2} MiB -> {:8.2} MiB",
                item.ty.name(),
                mib(item.from.bytes),
                mib(new_bytes)
            )),
        }
    }
    fn end(&self, plan: &Plan) {
        let bits = |bytes: u64| bytes as f64 * 8.0 / self.elements.max(1) as f64;
        log::info(format_args!("model size  = {:8.2} MiB ({:.2} BPW)", mib(self.old_bytes), bits(self.old_bytes)));
        log::info(format_args!("quant size  = {:8.2} MiB ({:.2} BPW)", mib(self.new_bytes), bits(self.new_bytes)));
        if plan.fallbacks > 0 {
            log::warn(format_args!("{} of {} tensor(s) required fallback quantization", plan.fallbacks, plan.n_before));
        }
    }
}
