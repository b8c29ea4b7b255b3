//! What the machine can do: bytes read a second by several patterns, and multiply-adds a second of each instruction a kernel may use.
use crate::buffer::Buffer;
use crate::{best, n_cores, on_threads};
use kernels::{DType, Isa};
use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;
use std::hint::black_box;

/// Of the buffer that is read: more than any cache.
const READ_BYTES: usize = 512 << 20;
/// Steps of a peak loop, of [`CHAINS`] instructions each: milliseconds.
const STEPS: usize = 1 << 20;
/// Independent sums: latency times width of the longest chain there is, and as many as registers allow.
const CHAINS: usize = 12;

/// An instruction: its name, whether this CPU has it (else `run` must not be called), and the multiply-adds of one of it.
struct Peak {
    name: &'static str,
    there: fn() -> bool,
    macs: usize,
    run: fn(),
}

const PEAKS: &[Peak] = &[
    Peak { name: VNNI, there: || has!("avx512vnni"), macs: 64, run: vnni },
    Peak { name: VNNI256, there: || has!("avxvnni"), macs: 32, run: vnni256 },
    Peak { name: MADD512, there: || has!("avx512bw"), macs: 64, run: maddubs512 },
    Peak { name: MADD256, there: || has!("avx2"), macs: 32, run: maddubs256 },
    Peak { name: BF16_DOT, there: || has!("avx512bf16"), macs: 32, run: bf16_dot },
    Peak { name: FMA512, there: || has!("avx512f"), macs: 16, run: fma512 },
    Peak { name: FMA256, there: || has!("fma"), macs: 8, run: fma256 },
];

const VNNI: &str = "int8 VNNI";
const VNNI256: &str = "int8 VNNI, 256 bits";
const MADD512: &str = "int8 maddubs, 512 bits";
const MADD256: &str = "int8 maddubs, 256 bits";
const BF16_DOT: &str = "bf16 dot";
const FMA512: &str = "f32 FMA, 512 bits";
const FMA256: &str = "f32 FMA, 256 bits";

/// How a loop walks memory.
#[derive(Clone, Copy)]
pub struct Pattern {
    /// Equal parts that are read side by side.
    streams: usize,
    /// Bytes beyond those read that are asked for; 0: the CPU has to guess.
    ahead: usize,
}

pub const PATTERNS: [Pattern; 4] = [
    Pattern { streams: 1, ahead: 0 },
    Pattern { streams: 8, ahead: 0 },
    Pattern { streams: 1, ahead: 4096 },
    Pattern { streams: 8, ahead: 1024 },
];

/// [one core, all cores], in units of 1e9 a second.
pub struct Limits {
    /// By pattern.
    read: Vec<(String, [f64; 2])>,
    peaks: Vec<(&'static str, [f64; 2])>,
}

impl Limits {
    pub fn measure() -> Limits {
        let both = |f: &dyn Fn(usize) -> f64| [f(1), f(n_cores())];
        let read = [false, true].into_iter().flat_map(|huge| {
            let buffer = Buffer::zeroed(READ_BYTES, huge);
            PATTERNS.map(|p| {
                let pages = if huge { "huge pages" } else { "4 KiB pages" };
                (format!("read GB/s, {} streams, {} ahead, {pages}", p.streams, p.ahead), both(&|n| read_speed(&buffer, p, n)))
            })
        });
        let peaks = PEAKS.iter().filter(|p| (p.there)()).map(|p| (p.name, both(&|n| p.speed(n))));
        Limits { read: read.collect(), peaks: peaks.collect() }
    }

    /// The best instruction there is for products of this type on this level: its name and what one core does with it.
    pub fn mac(&self, ty: DType, isa: Isa) -> (&'static str, f64) {
        let wide = isa >= Isa::Avx512;
        let name = match ty {
            DType::BF16 if isa >= Isa::Avx512Bf16 => BF16_DOT,
            DType::F32 | DType::F16 | DType::BF16 => {
                if wide {
                    FMA512
                } else {
                    FMA256
                }
            }
            _ if isa >= Isa::Avx512Vnni => VNNI,
            _ if isa == Isa::AvxVnni => VNNI256,
            _ => {
                if wide {
                    MADD512
                } else {
                    MADD256
                }
            }
        };
        (name, self.peaks.iter().find(|p| p.0 == name).map_or(f64::NAN, |p| p.1[0]))
    }

    fn rows(&self) -> impl Iterator<Item = (String, [f64; 2])> + '_ {
        self.read.iter().cloned().chain(self.peaks.iter().map(|(name, v)| (format!("{name} GMAC/s"), *v)))
    }

    pub fn print(&self) {
        self.rows().for_each(|(name, [one, all])| println!("{name:42} one core {one:7.1}   all cores {all:7.1}"));
    }

    pub fn json(&self) -> String {
        let rows: Vec<String> = self.rows().map(|(name, [one, all])| format!("\"{name}\": [{one:.1}, {all:.1}]")).collect();
        format!("{{{}}}", rows.join(", "))
    }
}

impl Peak {
    fn speed(&self, n_threads: usize) -> f64 {
        let seconds = best(|| on_threads(n_threads, |_| (self.run)()));
        (STEPS * CHAINS * self.macs * n_threads) as f64 / seconds * 1e-9
    }
}

fn read_speed(buffer: &Buffer, pattern: Pattern, n_threads: usize) -> f64 {
    let seconds = best(|| read(buffer.bytes(), pattern, n_threads));
    buffer.bytes().len() as f64 / seconds * 1e-9
}

/// Reads every byte, an equal part on each thread, as fast as there is a way to.
pub fn read(bytes: &[u8], pattern: Pattern, n_threads: usize) {
    let part = bytes.len() / n_threads;
    let part_of = |i: usize| &bytes[i * part..(i + 1) * part];
    let wide = has!("avx512f");
    on_threads(n_threads, |i| {
        // SAFETY: the first where the CPU has AVX-512; the second needs AVX2, which every level that `matrix::cases` lists has.
        unsafe { if wide { read512(part_of(i), pattern) } else { read256(part_of(i), pattern) } }
    });
}

/// Reads every byte, 256 of each stream in turn.
#[target_feature(enable = "avx512f")]
fn read512(bytes: &[u8], pattern: Pattern) {
    let mut sums = [_mm512_setzero_si512(); 4];
    walk(bytes, pattern, |p| {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `walk` gives 256 bytes.
            *sum = _mm512_or_si512(*sum, unsafe { _mm512_loadu_si512(p.add(i * 64).cast()) });
        }
    });
    black_box(sums);
}

/// The same in smaller steps.
#[target_feature(enable = "avx2")]
fn read256(bytes: &[u8], pattern: Pattern) {
    let mut sums = [_mm256_setzero_si256(); 8];
    walk(bytes, pattern, |p| {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `walk` gives 256 bytes.
            *sum = _mm256_or_si256(*sum, unsafe { _mm256_loadu_si256(p.add(i * 32).cast()) });
        }
    });
    black_box(sums);
}

/// Calls `f` with every 256 bytes of the slice.
#[inline(always)]
fn walk(bytes: &[u8], pattern: Pattern, mut f: impl FnMut(*const u8)) {
    let part = bytes.len() / pattern.streams / 256 * 256;
    for at in (0..part).step_by(256) {
        for s in 0..pattern.streams {
            let p = bytes[s * part + at..][..256].as_ptr();
            for line in (0..256).step_by(64).filter(|_| pattern.ahead > 0) {
                // SAFETY: a hint; it may point anywhere.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(pattern.ahead + line).cast()) };
            }
            f(p);
        }
    }
}

/// Runs the lines `STEPS` times for each of the registers 0 to 11; 12 to 15 are theirs. All are zero at first. In assembly, because a
/// compiler sees that equal operands have equal products.
macro_rules! chains {
    ($($line:literal),+) => {
        // SAFETY: registers only, all of them declared; the caller vouches for the instruction.
        unsafe {
            std::arch::asm!(
                "vzeroall", "2:", ".irp r,0,1,2,3,4,5,6,7,8,9,10,11", $($line,)+ ".endr", "dec rcx", "jnz 2b", "vzeroupper",
                inout("rcx") STEPS => _, clobber_abi("C"), options(nomem, nostack)
            )
        }
    };
}

fn vnni() {
    chains!("vpdpbusd zmm\\r, zmm12, zmm12");
}

fn vnni256() {
    chains!("{{vex}} vpdpbusd ymm\\r, ymm12, ymm12");
}

/// Bytes to pairs, pairs added: the least that a kernel without VNNI does.
fn maddubs512() {
    chains!("vpmaddubsw zmm12, zmm13, zmm13", "vpaddw zmm\\r, zmm\\r, zmm12");
}

fn maddubs256() {
    chains!("vpmaddubsw ymm12, ymm13, ymm13", "vpaddw ymm\\r, ymm\\r, ymm12");
}

fn bf16_dot() {
    chains!("vdpbf16ps zmm\\r, zmm12, zmm12");
}

fn fma512() {
    chains!("vfmadd231ps zmm\\r, zmm12, zmm12");
}

fn fma256() {
    chains!("vfmadd231ps ymm\\r, ymm12, ymm12");
}
