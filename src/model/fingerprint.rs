//! A number that tells one set of weights from another: names, types, shapes and a share of the bytes. Reads what the backends hold, in whatever
//! memory that is.
use super::Model;
use crate::backend::{Copy2d, Shard, Weight};
use platform::Result;
use platform::error::try_zeroed;
use platform::hash;

/// Models up to here are read whole.
const SMALL: u64 = 256 << 20;
/// Of larger ones `WIDTH` bytes of every `PITCH`: their rows are about as long as that, so nearly each has its say, for one look at every page.
const WIDTH: usize = 64;
const PITCH: usize = 4096;

impl Model {
    /// Computed at the first call.
    pub fn fingerprint(&self) -> Result<u64> {
        if let Some(f) = self.fingerprint.get() {
            return Ok(*f);
        }
        let pitch = if self.n_bytes <= SMALL { WIDTH } else { PITCH };
        let mut all = Vec::new();
        for w in self.weights.iter() {
            all.extend_from_slice(format!("{} {} {:?}\n", w.name, w.ty.name(), w.shape).as_bytes());
            for s in &w.shards {
                all.extend_from_slice(&sample(w, s, pitch)?.to_le_bytes());
            }
        }
        Ok(*self.fingerprint.get_or_init(|| hash::of(&all)))
    }
}

fn sample(w: &Weight, s: &Shard, pitch: usize) -> Result<u64> {
    let n = (w.row_bytes() * s.rows.len() * w.shape[2] as usize).min(s.buf.len().saturating_sub(s.at));
    let (rows, width) = if n < WIDTH { (1, n) } else { ((n - WIDTH) / pitch + 1, WIDTH) };
    let mut bytes = try_zeroed((rows + 1) * width, "a sample of the weights")?;
    let inside = Copy2d { at: 0, from: s.at, width, rows, at_pitch: width, from_pitch: pitch };
    let list = [inside, Copy2d::flat(rows * width, s.at + n - width, width)];
    s.buf.read(&list, &mut bytes)?;
    Ok(hash::of(&bytes))
}
