//! A whole text, ready to run: its kernels, and its global and constant variables in device memory.
use crate::isa::{Kernel, Space};
use crate::lex::{Refusal, refuse};
use crate::memory::Memory;
use crate::parse::{Module, Variable};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Default)]
pub struct Program {
    pub kernels: HashMap<String, Arc<Kernel>>,
    /// Address and bytes of variables.
    pub globals: HashMap<String, (u64, u64)>,
}

/// `allocate` is asked for device memory, which must be in `memory` then.
pub fn load(module: &Module, memory: &mut Memory, mut allocate: impl FnMut(&mut Memory, u64) -> Option<u64>) -> Result<Program, Refusal> {
    let mut p = Program::default();
    for v in module.variables.iter().filter(|v| matches!(v.space, Space::Global | Space::Const) && !v.external) {
        let Some(at) = allocate(memory, v.size.max(1)) else { return refuse(0, format!("no memory for {}", v.name)) };
        let mut bytes = v.init.clone();
        bytes.resize(v.size as usize, 0);
        memory.write(at, &bytes);
        p.globals.insert(v.name.to_owned(), (at, v.size));
    }
    module.variables.iter().try_for_each(|v| p.point(memory, v))?;
    let addresses = p.globals.iter().map(|(n, (at, _))| (n.clone(), *at)).collect();
    for f in module.functions.iter().filter(|f| f.is_entry) {
        p.kernels.insert(f.name.to_owned(), Arc::new(crate::decode::kernel(module, f, &addresses)?));
    }
    Ok(p)
}

impl Program {
    /// Addresses of other variables in the initial value of `v`; what stands there is an offset.
    fn point(&self, memory: &mut Memory, v: &Variable) -> Result<(), Refusal> {
        for (offset, of) in &v.pointers {
            let (Some((at, _)), Some((to, _))) = (self.globals.get(v.name), self.globals.get(*of)) else {
                return refuse(0, format!("{} points to {of}, which is no variable", v.name));
            };
            let place = at + *offset as u64;
            let old = memory.read(place, 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
            memory.write(place, &to.wrapping_add(old).to_le_bytes());
        }
        Ok(())
    }
}
