//! A device's memory and one PTX text: what the tests of the interpreter run kernels on.
use mockcuda::exec::{self, Launch, Violation};
use mockcuda::lex::Refusal;
use mockcuda::memory::Memory;
use mockcuda::parse;
use mockcuda::program::{self, Program};

pub struct Bench {
    pub memory: Memory,
    pub program: Program,
}

/// A parameter of a kernel.
#[derive(Clone, Copy)]
#[allow(dead_code)]
pub enum Arg {
    P(u64),
    I(i32),
    F(f32),
}

impl Bench {
    pub fn try_new(text: &str) -> Result<Bench, Refusal> {
        let mut memory = Memory::default();
        let program = program::load(&parse::parse(text)?, &mut memory, |m, n| m.allocate(0, n))?;
        Ok(Bench { memory, program })
    }

    pub fn new(text: &str) -> Bench {
        Bench::try_new(text).unwrap_or_else(|r| panic!("line {}: {}", r.line, r.what))
    }

    pub fn room(&mut self, bytes: usize) -> u64 {
        self.memory.allocate(0, bytes as u64).expect("memory")
    }

    pub fn put<const N: usize, T: Copy>(&mut self, values: &[T], bytes: impl Fn(T) -> [u8; N]) -> u64 {
        let all: Vec<u8> = values.iter().flat_map(|v| bytes(*v)).collect();
        let at = self.room(all.len().max(1));
        self.memory.write(at, &all).expect("room");
        at
    }

    pub fn f32s(&mut self, values: &[f32]) -> u64 {
        self.put(values, f32::to_le_bytes)
    }

    pub fn u32s(&mut self, values: &[u32]) -> u64 {
        self.put(values, u32::to_le_bytes)
    }

    pub fn bytes(&mut self, values: &[u8]) -> u64 {
        self.put(values, |b| [b])
    }

    pub fn get_u32(&self, at: u64, n: usize) -> Vec<u32> {
        let bytes = self.memory.read(at, 4 * n as u64).expect("memory");
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    #[allow(dead_code)]
    pub fn get_f32(&self, at: u64, n: usize) -> Vec<f32> {
        self.get_u32(at, n).into_iter().map(f32::from_bits).collect()
    }

    pub fn try_run(&mut self, name: &str, grid: [u32; 3], block: [u32; 3], shared: u64, args: &[Arg]) -> Result<u64, Box<Violation>> {
        let kernel = self.program.kernels.get(name).unwrap_or_else(|| panic!("no kernel {name}")).clone();
        let mut params = vec![0; kernel.param_bytes as usize];
        assert_eq!(kernel.params.len(), args.len(), "parameters of {name}");
        for ((at, _), arg) in kernel.params.iter().zip(args) {
            let bytes = match arg {
                Arg::P(p) => p.to_le_bytes().to_vec(),
                Arg::I(i) => i.to_le_bytes().to_vec(),
                Arg::F(f) => f.to_le_bytes().to_vec(),
            };
            params[*at as usize..*at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        exec::run(&Launch { kernel: &kernel, grid, block, dynamic_shared: shared, params: &params }, &mut self.memory)
    }

    pub fn run(&mut self, name: &str, grid: [u32; 3], block: [u32; 3], shared: u64, args: &[Arg]) {
        self.try_run(name, grid, block, shared, args).unwrap_or_else(|v| panic!("{v}"));
    }
}

/// Numbers that look like weights, the same every time.
#[allow(dead_code)]
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut s = seed.wrapping_mul(0x9e3779b97f4a7c15) | 1;
    (0..n)
        .map(|_| {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}
