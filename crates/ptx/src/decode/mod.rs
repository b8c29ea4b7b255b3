//! Functions as words to kernels as instructions: names become registers and addresses, labels become places in the code.
//! Knows scopes and spaces; what an opcode means is next door.
mod operands;
mod ops;
mod ops_memory;
mod ops_warp;

use crate::isa::{ALWAYS, Inst, Kernel, Op, P, R, Space, Special};
use crate::lex::{Refusal, refuse};
use crate::parse::{Arg, Function, Module, Stmt, Variable, Words};
use std::collections::HashMap;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// With its bits.
    Reg(R, u32),
    Pred(P),
    /// An offset in a space; global ones are device addresses.
    Address(u64, Space),
    /// Shared memory of the size that a launch says.
    Dynamic,
}

/// A function that is decoded already: where it begins, where its return address, parameters and results are.
#[derive(Clone)]
struct Callee {
    pc: u32,
    back: R,
    params: Vec<(u64, u64)>,
    returns: Vec<(u64, u64)>,
}

/// The operands still to be filled with places in the code.
struct Jump<'a> {
    inst: usize,
    labels: Vec<&'a str>,
    line: u32,
}

struct Decoder<'m, 'a> {
    module: &'m Module<'a>,
    /// Device addresses of global and constant variables.
    globals: &'m HashMap<String, u64>,
    kernel: Kernel,
    consts: HashMap<u64, R>,
    specials: HashMap<Special, R>,
    scopes: Vec<HashMap<String, Name>>,
    callees: HashMap<&'a str, Callee>,
    /// Functions that are being decoded: one that calls itself has no room for its registers.
    open: Vec<&'a str>,
    labels: HashMap<&'a str, u32>,
    tables: HashMap<&'a str, Vec<&'a str>>,
    jumps: Vec<Jump<'a>>,
    /// The register of the return address of the function at hand; none in an entry.
    back: Option<R>,
    /// The carry flag, once somebody asks for it.
    carry: Option<P>,
}

/// The entry `f` with all that it calls.
pub fn kernel(module: &Module, f: &Function, globals: &HashMap<String, u64>) -> Result<Kernel, Refusal> {
    let mut d = Decoder {
        module,
        globals,
        kernel: Kernel {
            name: f.name.to_owned(),
            n_preds: 2,
            dynamic_align: 16,
            max_threads: f.max_threads.unwrap_or(1024),
            ..Kernel::default()
        },
        consts: HashMap::new(),
        specials: HashMap::new(),
        scopes: vec![HashMap::new()],
        callees: HashMap::new(),
        open: Vec::new(),
        labels: HashMap::new(),
        tables: HashMap::new(),
        jumps: Vec::new(),
        back: None,
        carry: None,
    };
    d.module_names();
    d.callees_of(f)?;
    d.entry(f)?;
    d.kernel.consts = d.consts.iter().map(|(v, r)| (*r, *v)).collect();
    d.kernel.specials = d.specials.iter().map(|(s, r)| (*r, *s)).collect();
    Ok(d.kernel)
}

impl<'m, 'a: 'm> Decoder<'m, 'a> {
    fn module_names(&mut self) {
        let module = self.module;
        // Memory of the size that a launch says lies behind all other.
        let (open, sized): (Vec<_>, Vec<_>) = module.variables.iter().partition(|v| v.space == Space::Shared && v.external && v.size == 0);
        for v in sized.iter().filter(|v| v.space == Space::Shared) {
            self.shared_variable(v);
        }
        for v in &open {
            self.kernel.dynamic_align = self.kernel.dynamic_align.max(v.align);
            self.define(v.name, Name::Dynamic);
        }
        for (name, at) in self.globals {
            self.define(name, Name::Address(*at, Space::Global));
        }
    }

    fn define(&mut self, name: &str, what: Name) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), what);
        }
    }

    fn shared_variable(&mut self, v: &Variable) {
        let at = self.kernel.shared_bytes.next_multiple_of(v.align.max(1));
        self.kernel.shared_bytes = at + v.size;
        self.define(v.name, Name::Address(at, Space::Shared));
    }

    /// Room in each lane's own memory.
    fn local(&mut self, size: u64, align: u64) -> u64 {
        let at = self.kernel.local_bytes.next_multiple_of(align.max(1));
        self.kernel.local_bytes = at + size;
        at
    }

    /// Decodes what `f` calls, before `f`: lanes at the smallest place run first, so those in a function come back to the others.
    fn callees_of(&mut self, f: &Function<'a>) -> Result<(), Refusal> {
        for stmt in &f.body {
            let Stmt::Do(w) = stmt else { continue };
            if w.opcode.split('.').next() != Some("call") {
                continue;
            }
            let Some(name) = w.args.iter().find_map(|a| if let Arg::Name(n) = a { Some(*n) } else { None }) else { continue };
            if self.callees.contains_key(name) || PROVIDED.contains(&name) {
                continue;
            }
            if self.open.contains(&name) {
                return refuse(w.line, format!("{name} calls itself: that is not known here"));
            }
            let module = self.module;
            let Some(callee) = module.functions.iter().find(|c| c.name == name && !c.is_external && !c.is_entry) else {
                return refuse(w.line, format!("the function {name} is declared and never defined"));
            };
            self.open.push(callee.name);
            self.callees_of(callee)?;
            self.open.pop();
            self.function(callee)?;
        }
        Ok(())
    }

    fn function(&mut self, f: &Function<'a>) -> Result<(), Refusal> {
        let back = self.fresh();
        self.scopes.push(HashMap::new());
        let mut room = |vars: &[Variable<'a>]| -> Vec<(u64, u64)> {
            vars.iter()
                .map(|v| {
                    let at = self.local(v.size, v.align);
                    self.define(v.name, Name::Address(at, Space::Local));
                    (at, v.size)
                })
                .collect()
        };
        let (params, returns) = (room(&f.params), room(&f.returns));
        self.back = Some(back);
        let pc = self.kernel.code.len() as u32;
        self.callees.insert(f.name, Callee { pc, back, params, returns });
        self.body(f, Op::Ret { back })?;
        self.scopes.pop();
        self.back = None;
        Ok(())
    }

    fn entry(&mut self, f: &Function<'a>) -> Result<(), Refusal> {
        self.kernel.entry = self.kernel.code.len() as u32;
        self.scopes.push(HashMap::new());
        let mut at = 0u64;
        for v in &f.params {
            at = at.next_multiple_of(v.align.max(1));
            self.define(v.name, Name::Address(at, Space::Param));
            self.kernel.params.push((at, v.size));
            at += v.size;
        }
        self.kernel.param_bytes = at;
        self.body(f, Op::Exit)
    }

    fn body(&mut self, f: &Function<'a>, end: Op) -> Result<(), Refusal> {
        let mut last_label = "";
        self.labels.clear();
        self.tables.clear();
        for stmt in &f.body {
            match stmt {
                Stmt::Open => self.scopes.push(HashMap::new()),
                Stmt::Close => drop(self.scopes.pop()),
                Stmt::Regs(ty, name, count) => self.registers(ty, name, *count, f.line)?,
                Stmt::Var(v) => self.variable(v, f.line)?,
                Stmt::Label(name) => {
                    last_label = name;
                    self.labels.insert(name, self.kernel.code.len() as u32);
                }
                Stmt::Targets(labels) => drop(self.tables.insert(last_label, labels.clone())),
                Stmt::Do(words) => self.instruction(words)?,
            }
        }
        self.emit(end, f.line);
        self.land()
    }

    fn registers(&mut self, ty: &str, name: &str, count: Option<u32>, line: u32) -> Result<(), Refusal> {
        let Some(ty) = crate::isa::Ty::named(ty.trim_start_matches('.')) else { return refuse(line, format!("registers of type {ty}")) };
        let names = count.map_or_else(|| vec![name.to_owned()], |n| (0..n).map(|i| format!("{name}{i}")).collect());
        for name in names {
            let what = if ty.bits == 1 { Name::Pred(self.fresh_pred()) } else { Name::Reg(self.fresh(), ty.bits) };
            self.define(&name, what);
        }
        Ok(())
    }

    fn variable(&mut self, v: &Variable, line: u32) -> Result<(), Refusal> {
        match v.space {
            Space::Shared => self.shared_variable(v),
            Space::Local | Space::Param => {
                let at = self.local(v.size, v.align);
                self.define(v.name, Name::Address(at, Space::Local));
            }
            _ => return refuse(line, format!("{} is a global variable inside a function", v.name)),
        }
        Ok(())
    }

    fn fresh(&mut self) -> R {
        self.kernel.n_regs += 1;
        self.kernel.n_regs - 1
    }

    fn fresh_pred(&mut self) -> P {
        self.kernel.n_preds += 1;
        self.kernel.n_preds - 1
    }

    fn constant(&mut self, value: u64) -> R {
        if let Some(r) = self.consts.get(&value) {
            return *r;
        }
        let r = self.fresh();
        self.consts.insert(value, r);
        r
    }

    fn emit(&mut self, op: Op, line: u32) {
        self.kernel.code.push(Inst { op, guard: ALWAYS, unless: false, line });
    }

    fn instruction(&mut self, w: &Words<'a>) -> Result<(), Refusal> {
        let guard = match w.guard {
            Some((name, unless)) => (self.pred_named(name, w.line)?, unless),
            None => (ALWAYS, false),
        };
        let first = self.kernel.code.len();
        let op = self.decode(w)?;
        self.emit(op, w.line);
        for inst in &mut self.kernel.code[first..] {
            (inst.guard, inst.unless) = guard;
        }
        Ok(())
    }

    /// Gives jumps their targets.
    fn land(&mut self) -> Result<(), Refusal> {
        for jump in std::mem::take(&mut self.jumps) {
            let mut places = Vec::new();
            for label in &jump.labels {
                let Some(at) = self.labels.get(label) else { return refuse(jump.line, format!("no label {label}")) };
                places.push(*at);
            }
            match &mut self.kernel.code[jump.inst].op {
                Op::Bra { target } => *target = places[0],
                Op::Brx { targets, .. } => *targets = places,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Functions that the driver has: a failed assertion ends the kernel, nothing is printed.
const PROVIDED: &[&str] = &["__assertfail", "vprintf"];
