//! PTX text to functions and variables, instructions still as words. Knows the grammar, not what an opcode means.
use crate::lex::{Refusal, Token, Tokens, refuse};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Generic,
    Global,
    Const,
    Shared,
    Local,
    Param,
}

#[derive(Clone, Debug)]
pub struct Variable<'a> {
    pub name: &'a str,
    pub space: Space,
    pub align: u64,
    pub size: u64,
    pub init: Vec<u8>,
    /// Addresses of other variables in the initial value: where, of whom.
    pub pointers: Vec<(usize, &'a str)>,
    pub external: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Arg<'a> {
    Name(&'a str),
    /// A whole number, or the bits of `0f` and `0d` literals.
    Int(i64),
    /// `[base + offset]`; without a base it is the offset alone. Also `name + offset` without brackets.
    Mem(Option<&'a str>, i64),
    List(Vec<Arg<'a>>),
    /// `d|p`
    Pair(&'a str, &'a str),
    Not(&'a str),
    /// Names in parentheses of a call.
    Names(Vec<&'a str>),
}

#[derive(Clone, Debug)]
pub struct Words<'a> {
    pub line: u32,
    pub guard: Option<(&'a str, bool)>,
    pub opcode: &'a str,
    pub args: Vec<Arg<'a>>,
}

#[derive(Clone, Debug)]
pub enum Stmt<'a> {
    Open,
    Close,
    /// Type, name, and how many registers `name<count>` are meant.
    Regs(&'a str, &'a str, Option<u32>),
    Var(Variable<'a>),
    Label(&'a str),
    /// The labels that `brx.idx` chooses from, under the label before.
    Targets(Vec<&'a str>),
    Do(Words<'a>),
}

#[derive(Clone, Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    pub is_entry: bool,
    pub is_external: bool,
    pub returns: Vec<Variable<'a>>,
    pub params: Vec<Variable<'a>>,
    pub body: Vec<Stmt<'a>>,
    /// Threads that a block has at most, where the text says so.
    pub max_threads: Option<u32>,
    pub line: u32,
}

#[derive(Default, Debug)]
pub struct Module<'a> {
    pub functions: Vec<Function<'a>>,
    pub variables: Vec<Variable<'a>>,
    /// `.version` as major * 10 + minor and the number of `.target sm_XX`.
    pub version: u32,
    pub target: u32,
}

pub fn parse(text: &str) -> Result<Module<'_>, Refusal> {
    let mut t = Tokens::of(text)?;
    let mut module = Module::default();
    while t.peek().is_some() {
        top_level(&mut t, &mut module)?;
    }
    if module.version == 0 || module.target == 0 {
        return refuse(1, "no .version or no .target: this is no PTX");
    }
    Ok(module)
}

fn top_level<'a>(t: &mut Tokens<'a>, module: &mut Module<'a>) -> Result<(), Refusal> {
    let line = t.line();
    let mut external = false;
    loop {
        match t.word()? {
            ".version" => {
                let w = t.word()?;
                let Some((major, minor)) = w.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)))
                else {
                    return refuse(line, format!(".version {w}"));
                };
                module.version = major * 10 + minor;
                return Ok(());
            }
            ".target" => {
                let w = t.word()?;
                let Some(n) = w.strip_prefix("sm_").and_then(|n| n.trim_end_matches('a').parse().ok()) else {
                    return refuse(line, format!(".target {w}"));
                };
                module.target = n;
                t.skip_line(line);
                return Ok(());
            }
            ".address_size" | ".file" | ".loc" => {
                t.skip_line(line);
                return Ok(());
            }
            ".section" => {
                while !matches!(t.peek(), Some(Token::Mark('{')) | None) {
                    t.take_any();
                }
                t.skip_braces();
                return Ok(());
            }
            ".pragma" => return skip_statement(t),
            ".visible" | ".weak" | ".common" => {}
            ".extern" => external = true,
            ".entry" => return function(t, module, true, external, line),
            ".func" => return function(t, module, false, external, line),
            ".global" => return variables(t, Space::Global, external, &mut module.variables),
            ".const" => return variables(t, Space::Const, external, &mut module.variables),
            ".shared" => return variables(t, Space::Shared, external, &mut module.variables),
            other => return refuse(line, format!("unknown directive {other}")),
        }
    }
}

fn skip_statement(t: &mut Tokens) -> Result<(), Refusal> {
    while !t.take(';') {
        if t.take_any().is_none() {
            return refuse(t.line(), "`;` expected");
        }
    }
    Ok(())
}

/// Bytes of a type that memory can hold.
pub fn size_of(ty: &str) -> Option<u64> {
    match ty.trim_start_matches('.') {
        "b8" | "u8" | "s8" => Some(1),
        "b16" | "u16" | "s16" | "f16" | "bf16" => Some(2),
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" => Some(4),
        "b64" | "u64" | "s64" | "f64" => Some(8),
        _ => None,
    }
}

fn variables<'a>(t: &mut Tokens<'a>, space: Space, external: bool, out: &mut Vec<Variable<'a>>) -> Result<(), Refusal> {
    loop {
        out.push(variable(t, space, external)?);
        if !t.take(',') {
            return t.expect(';');
        }
    }
}

/// `.align 8 .b8 name[16] = {..}`, the space's word being read already.
fn variable<'a>(t: &mut Tokens<'a>, space: Space, external: bool) -> Result<Variable<'a>, Refusal> {
    let line = t.line();
    let (mut align, mut vector) = (0, 1);
    let element = loop {
        match t.word()? {
            ".align" => align = integer(t)? as u64,
            ".v2" => vector = 2,
            ".v4" => vector = 4,
            ".ptr" | ".volatile" | ".attribute" | ".managed" => {}
            ".global" | ".const" | ".shared" | ".local" if space == Space::Param => {}
            ty => match size_of(ty) {
                Some(size) => break size * vector,
                None => return refuse(line, format!("unknown type {ty} of a variable")),
            },
        }
    };
    // Parameters that are pointers say what they point to after the type.
    while matches!(t.peek(), Some(Token::Word(w)) if w.starts_with('.')) {
        if t.word()? == ".align" {
            integer(t)?;
        }
    }
    let name = t.word()?;
    let mut count = 1u64;
    let mut is_open = false;
    while t.take('[') {
        if t.take(']') {
            is_open = true;
            continue;
        }
        count = count.saturating_mul(integer(t)? as u64);
        t.expect(']')?;
    }
    let size = if is_open { 0 } else { element.saturating_mul(count) };
    if size > 1 << 40 {
        return refuse(line, format!("{name} has {size} bytes"));
    }
    let mut v = Variable { name, space, align: align.max(element.min(16)), size, init: Vec::new(), pointers: Vec::new(), external };
    if t.take('=') {
        initial(t, &mut v, element as usize)?;
        v.size = v.size.max(v.init.len() as u64);
    }
    Ok(v)
}

fn initial<'a>(t: &mut Tokens<'a>, v: &mut Variable<'a>, element: usize) -> Result<(), Refusal> {
    if !t.take('{') {
        return initial_value(t, v, element);
    }
    while !t.take('}') {
        if t.peek() == Some(Token::Mark('{')) {
            initial(t, v, element)?
        } else {
            initial_value(t, v, element)?
        }
        t.take(',');
    }
    Ok(())
}

fn initial_value<'a>(t: &mut Tokens<'a>, v: &mut Variable<'a>, element: usize) -> Result<(), Refusal> {
    let value = match operand(t)? {
        Arg::Int(i) => i,
        Arg::Name("generic") => {
            t.expect('(')?;
            let name = t.word()?;
            t.expect(')')?;
            v.pointers.push((v.init.len(), name));
            0
        }
        Arg::Name(name) => {
            v.pointers.push((v.init.len(), name));
            0
        }
        Arg::Mem(Some(name), offset) => {
            v.pointers.push((v.init.len(), name));
            offset
        }
        other => return refuse(t.line(), format!("{other:?} as initial value of {}", v.name)),
    };
    v.init.extend_from_slice(&value.to_le_bytes()[..element.min(8)]);
    Ok(())
}

fn function<'a>(t: &mut Tokens<'a>, module: &mut Module<'a>, is_entry: bool, is_external: bool, line: u32) -> Result<(), Refusal> {
    let returns = if t.peek() == Some(Token::Mark('(')) { parameters(t)? } else { Vec::new() };
    let name = t.word()?;
    let params = if t.peek() == Some(Token::Mark('(')) { parameters(t)? } else { Vec::new() };
    let mut f = Function { name, is_entry, is_external, returns, params, body: Vec::new(), max_threads: None, line };
    loop {
        match t.peek() {
            Some(Token::Mark('{')) => break,
            Some(Token::Mark(';')) => {
                t.take_any();
                // A declaration: what counts is the definition that may follow.
                if is_external {
                    module.functions.push(f);
                }
                return Ok(());
            }
            _ => tuning(t, &mut f)?,
        }
    }
    t.expect('{')?;
    f.body = body(t)?;
    module.functions.push(f);
    Ok(())
}

/// `.maxntid 128, 1, 1` and its like.
fn tuning(t: &mut Tokens, f: &mut Function) -> Result<(), Refusal> {
    let line = t.line();
    match t.word()? {
        ".maxntid" | ".reqntid" => {
            let mut threads = integer(t)?;
            while t.take(',') {
                threads = threads.saturating_mul(integer(t)?);
            }
            f.max_threads = Some(threads.clamp(0, 1024) as u32);
        }
        ".minnctapersm" | ".maxnreg" => drop(integer(t)?),
        ".noreturn" => {}
        ".pragma" => skip_statement(t)?,
        other => return refuse(line, format!("unknown directive {other} of {}", f.name)),
    }
    Ok(())
}

fn parameters<'a>(t: &mut Tokens<'a>) -> Result<Vec<Variable<'a>>, Refusal> {
    let mut found = Vec::new();
    t.expect('(')?;
    while !t.take(')') {
        if !t.take_word(".param") {
            return refuse(t.line(), "parameters in registers are not known here");
        }
        found.push(variable(t, Space::Param, false)?);
        t.take(',');
    }
    Ok(found)
}

fn body<'a>(t: &mut Tokens<'a>) -> Result<Vec<Stmt<'a>>, Refusal> {
    let (mut stmts, mut depth) = (Vec::new(), 0);
    loop {
        let line = t.line();
        match t.peek() {
            None => return refuse(line, "a function without end"),
            Some(Token::Mark('{')) => {
                t.take_any();
                depth += 1;
                stmts.push(Stmt::Open);
            }
            Some(Token::Mark('}')) => {
                t.take_any();
                if depth == 0 {
                    return Ok(stmts);
                }
                depth -= 1;
                stmts.push(Stmt::Close);
            }
            Some(Token::Mark(';')) => drop(t.take_any()),
            Some(Token::Mark('@')) => {
                t.take_any();
                let negated = t.take('!');
                let guard = Some((t.word()?, negated));
                stmts.push(Stmt::Do(instruction(t, guard, line)?));
            }
            Some(Token::Word(w)) if w.starts_with('.') => directive(t, &mut stmts)?,
            Some(Token::Word(w)) if t.peek_second() == Some(Token::Mark(':')) => {
                t.take_any();
                t.take_any();
                stmts.push(Stmt::Label(w));
            }
            Some(Token::Word(_)) => stmts.push(Stmt::Do(instruction(t, None, line)?)),
            Some(other) => return refuse(line, format!("{other:?} where a statement begins")),
        }
    }
}

fn directive<'a>(t: &mut Tokens<'a>, stmts: &mut Vec<Stmt<'a>>) -> Result<(), Refusal> {
    let line = t.line();
    let space = match t.word()? {
        ".reg" => return registers(t, stmts),
        ".pragma" => return skip_statement(t),
        ".loc" | ".file" => {
            t.skip_line(line);
            return Ok(());
        }
        ".branchtargets" => {
            let mut labels = vec![t.word()?];
            while t.take(',') {
                labels.push(t.word()?);
            }
            stmts.push(Stmt::Targets(labels));
            return t.expect(';');
        }
        ".param" => Space::Param,
        ".local" => Space::Local,
        ".shared" => Space::Shared,
        ".global" => Space::Global,
        ".const" => Space::Const,
        other => return refuse(line, format!("unknown directive {other}")),
    };
    let mut found = Vec::new();
    variables(t, space, false, &mut found)?;
    stmts.extend(found.into_iter().map(Stmt::Var));
    Ok(())
}

fn registers<'a>(t: &mut Tokens<'a>, stmts: &mut Vec<Stmt<'a>>) -> Result<(), Refusal> {
    let ty = t.word()?;
    loop {
        let name = t.word()?;
        let mut count = None;
        if t.take('<') {
            count = Some(integer(t)?.clamp(0, 1 << 20) as u32);
            t.expect('>')?;
        }
        stmts.push(Stmt::Regs(ty, name, count));
        if !t.take(',') {
            return t.expect(';');
        }
    }
}

fn instruction<'a>(t: &mut Tokens<'a>, guard: Option<(&'a str, bool)>, line: u32) -> Result<Words<'a>, Refusal> {
    let opcode = t.word()?;
    let mut args = Vec::new();
    while !t.take(';') {
        args.push(operand(t)?);
        if !t.take(',') {
            t.expect(';')?;
            break;
        }
    }
    Ok(Words { line, guard, opcode, args })
}

fn operand<'a>(t: &mut Tokens<'a>) -> Result<Arg<'a>, Refusal> {
    if t.take('[') {
        let arg = address(t)?;
        t.expect(']')?;
        return Ok(arg);
    }
    if t.take('{') {
        let mut list = Vec::new();
        while !t.take('}') {
            list.push(operand(t)?);
            t.take(',');
        }
        return Ok(Arg::List(list));
    }
    if t.take('(') {
        let mut names = Vec::new();
        while !t.take(')') {
            names.push(t.word()?);
            t.take(',');
        }
        return Ok(Arg::Names(names));
    }
    if t.take('!') {
        return Ok(Arg::Not(t.word()?));
    }
    if t.peek() == Some(Token::Mark('-')) || matches!(t.peek(), Some(Token::Word(w)) if w.starts_with(|c: char| c.is_ascii_digit())) {
        return integer(t).map(Arg::Int);
    }
    let name = t.word()?;
    if t.take('|') {
        return Ok(Arg::Pair(name, t.word()?));
    }
    if t.take('+') {
        return Ok(Arg::Mem(Some(name), integer(t)?));
    }
    Ok(Arg::Name(name))
}

fn address<'a>(t: &mut Tokens<'a>) -> Result<Arg<'a>, Refusal> {
    match t.peek() {
        Some(Token::Word(w)) if !w.starts_with(|c: char| c.is_ascii_digit()) => {
            t.take_any();
            let plus = t.take('+');
            let offset = if plus || t.peek() == Some(Token::Mark('-')) { integer(t)? } else { 0 };
            Ok(Arg::Mem(Some(w), offset))
        }
        _ => Ok(Arg::Mem(None, integer(t)?)),
    }
}

/// A number with its sign: decimal, hexadecimal, octal, binary, or the bits of a float.
fn integer(t: &mut Tokens) -> Result<i64, Refusal> {
    let negative = t.take('-');
    let word = t.word()?;
    let Some(value) = number(word) else { return refuse(t.line(), format!("{word} is no number")) };
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn number(word: &str) -> Option<i64> {
    let lower = word.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0f").filter(|h| h.len() == 8) {
        return u32::from_str_radix(hex, 16).ok().map(i64::from);
    }
    if let Some(hex) = lower.strip_prefix("0d").filter(|h| h.len() == 16) {
        return u64::from_str_radix(hex, 16).ok().map(|v| v as i64);
    }
    let digits = lower.trim_end_matches('u');
    let parsed = if let Some(hex) = digits.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if let Some(bits) = digits.strip_prefix("0b") {
        u64::from_str_radix(bits, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse::<u64>()
    };
    parsed.ok().map(|v| v as i64)
}
