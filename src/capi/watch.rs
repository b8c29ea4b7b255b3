//! `cb_eval`: a program's callback sees the nodes of a decode as ggml tensors. Values are copies that are good until the callback returns; weights
//! have a name, a type and a shape, but no data: where their bytes lie and in what order is the engine's affair.
use super::convert::UserData;
use super::tensor::{HostBuffer, four};
use super::types::*;

use crate::gguf::DType;
use crate::session::watch::{Act, Content, Kind, Node, NormKind, Tensor, Watch, Watcher};
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

type Callback = unsafe extern "C" fn(t: *mut ggml_tensor, ask: bool, user_data: *mut c_void) -> bool;

struct Eye {
    callback: Callback,
    data: UserData,
    buffer: HostBuffer,
}

/// The callback of a context's parameters, if it has one.
pub fn watcher(callback: ggml_backend_sched_eval_callback, data: *mut c_void) -> Option<Watcher> {
    callback.map(|callback| -> Watcher { Arc::new(Mutex::new(Eye { callback, data: UserData(data), buffer: HostBuffer::new() })) })
}

impl Watch for Eye {
    fn wants(&mut self, node: &Node<'_>) -> bool {
        self.show(node, true)
    }
    fn sees(&mut self, node: &Node<'_>) -> bool {
        self.show(node, false)
    }
}

impl Eye {
    fn show(&self, node: &Node<'_>, ask: bool) -> bool {
        let mut sources: Vec<ggml_tensor> = node.sources.iter().map(|t| self.tensor(t)).collect();
        let mut out = self.tensor(&node.out);
        (out.op, out.op_params[0]) = op(node.kind);
        out.src.iter_mut().zip(&mut sources).for_each(|(to, t)| *to = &raw mut *t);
        // SAFETY: the caller promises a function of this type that may be called until the context is freed; the tensors outlive the call.
        unsafe { (self.callback)(&raw mut out, ask, self.data.get()) }
    }

    fn tensor(&self, t: &Tensor<'_>) -> ggml_tensor {
        let (ty, numbers) = match t.content {
            Content::Weight(ty) => return ggml_tensor::weight(t.name, ty, t.ne),
            Content::Floats(v) => (DType::F32 as i32, v),
            Content::Ints(v) => (DType::I32 as i32, v),
        };
        let bytes = t.stride.map(|s| s * size_of::<f32>());
        // Behind the last dimension lies the next such tensor, whatever the order of the others.
        let nb = [bytes[0], bytes[1], bytes[2], t.ne.iter().product::<usize>() * size_of::<f32>()];
        let data = if numbers.is_empty() { std::ptr::null_mut() } else { numbers.as_ptr().cast_mut().cast() };
        ggml_tensor { buffer: self.buffer.get(), data, ..ggml_tensor::new(t.name, ty, four(t.ne), nb) }
    }
}

/// `ggml_op`, and the first of its parameters where it says which function is meant.
fn op(kind: Kind) -> (i32, i32) {
    match kind {
        Kind::Add => (2, 0),
        Kind::Sub => (6, 0),
        Kind::Mul => (7, 0),
        Kind::Div => (8, 0),
        Kind::Concat => (22, 0),
        Kind::Norm(NormKind::Layer) => (24, 0),
        Kind::Norm(NormKind::Rms) => (25, 0),
        Kind::MatMul => (29, 0),
        Kind::MatMulId => (30, 0),
        Kind::Scale => (32, 0),
        Kind::GetRows => (40, 0),
        Kind::Rope => (48, 0),
        Kind::Clamp => (50, 0),
        Kind::TopK => (70, 0),
        Kind::Attend => (74, 0),
        Kind::Unary(act) => (91, unary(act)),
        Kind::Tanh => (91, 4),
        Kind::Custom => (95, 0),
        Kind::Glu(act) => (100, glu(act)),
    }
}

/// `ggml_unary_op`; the square of a ReLU begins with one.
fn unary(act: Act) -> i32 {
    match act {
        Act::Relu | Act::ReluSqr => 6,
        Act::Sigmoid => 7,
        Act::Gelu => 8,
        Act::Silu | Act::SwigluOai | Act::SiluCut(_) | Act::CutSilu(_) => 10,
        Act::Xielu(_) => 17,
    }
}

/// `ggml_glu_op`
fn glu(act: Act) -> i32 {
    match act {
        Act::Relu | Act::ReluSqr | Act::Sigmoid | Act::Xielu(_) => 0,
        Act::Gelu => 1,
        Act::Silu => 2,
        Act::SwigluOai => 3,
        Act::SiluCut(_) | Act::CutSilu(_) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a name stands in an enum of the header, which the original's list was held against.
    fn number(of: &str, name: &str) -> i32 {
        let header = include_str!("../../include/ggml.h");
        let list = header.split(&format!("enum {of} {{")).nth(1).and_then(|s| s.split('}').next()).expect("an enum of the header");
        let (mut next, mut found) = (0, None);
        for item in
            list.lines().map(|l| l.split("//").next().unwrap_or("")).flat_map(|l| l.split(',')).map(str::trim).filter(|i| !i.is_empty())
        {
            let (constant, value) = item.split_once('=').unwrap_or((item, ""));
            next = value.trim().parse().unwrap_or(next);
            found = found.or((constant.trim() == name).then_some(next));
            next += 1;
        }
        found.unwrap_or_else(|| panic!("{of} has no {name}"))
    }

    #[test]
    fn numbers_are_the_headers() {
        for (kind, name) in [
            (Kind::Add, "ADD"),
            (Kind::Sub, "SUB"),
            (Kind::Mul, "MUL"),
            (Kind::Div, "DIV"),
            (Kind::Concat, "CONCAT"),
            (Kind::Norm(NormKind::Layer), "NORM"),
            (Kind::Norm(NormKind::Rms), "RMS_NORM"),
            (Kind::MatMul, "MUL_MAT"),
            (Kind::MatMulId, "MUL_MAT_ID"),
            (Kind::Scale, "SCALE"),
            (Kind::GetRows, "GET_ROWS"),
            (Kind::Rope, "ROPE"),
            (Kind::Clamp, "CLAMP"),
            (Kind::TopK, "TOP_K"),
            (Kind::Attend, "FLASH_ATTN_EXT"),
            (Kind::Tanh, "UNARY"),
            (Kind::Custom, "CUSTOM"),
            (Kind::Glu(Act::Silu), "GLU"),
        ] {
            assert_eq!(op(kind).0, number("ggml_op", &format!("GGML_OP_{name}")), "{kind:?}");
        }
        for (got, name) in [
            (op(Kind::Tanh).1, "TANH"),
            (unary(Act::Relu), "RELU"),
            (unary(Act::Sigmoid), "SIGMOID"),
            (unary(Act::Gelu), "GELU"),
            (unary(Act::Silu), "SILU"),
        ] {
            assert_eq!(got, number("ggml_unary_op", &format!("GGML_UNARY_OP_{name}")), "{name}");
        }
        for (act, name) in [(Act::Relu, "REGLU"), (Act::Gelu, "GEGLU"), (Act::Silu, "SWIGLU"), (Act::SwigluOai, "SWIGLU_OAI")] {
            assert_eq!(glu(act), number("ggml_glu_op", &format!("GGML_GLU_OP_{name}")), "{name}");
        }
    }
}
