//! ggml.h and its kin: names of enum values. Nothing is computed by them here.
use crate::abi::ggml_tensor;
use std::ffi::{CStr, c_char, c_int};

/// `ggml_op`, in its order.
#[rustfmt::skip]
const OPS: [&CStr; 101] = [
    c"NONE", c"DUP", c"ADD", c"ADD_ID", c"ADD1", c"ACC", c"SUB", c"MUL", c"DIV", c"SQR", c"SQRT", c"LOG", c"SIN", c"COS", c"SUM",
    c"SUM_ROWS", c"CUMSUM", c"MEAN", c"ARGMAX", c"COUNT_EQUAL", c"REPEAT", c"REPEAT_BACK", c"CONCAT", c"SILU_BACK", c"NORM", c"RMS_NORM",
    c"RMS_NORM_BACK", c"GROUP_NORM", c"L2_NORM", c"MUL_MAT", c"MUL_MAT_ID", c"OUT_PROD", c"SCALE", c"SET", c"CPY", c"CONT", c"RESHAPE",
    c"VIEW", c"PERMUTE", c"TRANSPOSE", c"GET_ROWS", c"GET_ROWS_BACK", c"SET_ROWS", c"DIAG", c"DIAG_MASK_INF", c"DIAG_MASK_ZERO",
    c"SOFT_MAX", c"SOFT_MAX_BACK", c"ROPE", c"ROPE_BACK", c"CLAMP", c"CONV_TRANSPOSE_1D", c"IM2COL", c"IM2COL_BACK", c"IM2COL_3D",
    c"COL2IM_1D", c"CONV_2D", c"CONV_3D", c"CONV_2D_DW", c"CONV_TRANSPOSE_2D", c"POOL_1D", c"POOL_2D", c"POOL_2D_BACK", c"UPSCALE", c"PAD",
    c"PAD_REFLECT_1D", c"ROLL", c"ARANGE", c"TIMESTEP_EMBEDDING", c"ARGSORT", c"TOP_K", c"LEAKY_RELU", c"TRI", c"FILL", c"FLASH_ATTN_EXT",
    c"FLASH_ATTN_BACK", c"SSM_CONV", c"SSM_SCAN", c"WIN_PART", c"WIN_UNPART", c"GET_REL_POS", c"ADD_REL_POS", c"RWKV_WKV6",
    c"GATED_LINEAR_ATTN", c"RWKV_WKV7", c"SOLVE_TRI", c"GATED_DELTA_NET", c"LIGHTNING_INDEXER", c"DSV4_HC_COMB", c"DSV4_HC_PRE",
    c"DSV4_HC_POST", c"UNARY", c"MAP_CUSTOM1", c"MAP_CUSTOM2", c"MAP_CUSTOM3", c"CUSTOM", c"CROSS_ENTROPY_LOSS", c"CROSS_ENTROPY_LOSS_BACK",
    c"OPT_STEP_ADAMW", c"OPT_STEP_SGD", c"GLU",
];

/// `ggml_unary_op`, in its order.
#[rustfmt::skip]
const UNARY: [&CStr; 22] = [
    c"ABS", c"SGN", c"NEG", c"STEP", c"TANH", c"ELU", c"RELU", c"SIGMOID", c"GELU", c"GELU_QUICK", c"SILU", c"HARDSWISH", c"HARDSIGMOID",
    c"EXP", c"EXPM1", c"SOFTPLUS", c"GELU_ERF", c"XIELU", c"FLOOR", c"CEIL", c"ROUND", c"TRUNC",
];

/// `ggml_glu_op`, in its order.
#[rustfmt::skip]
const GLU: [&CStr; 7] = [
    c"REGLU", c"GEGLU", c"SWIGLU", c"SWIGLU_OAI", c"GEGLU_ERF", c"GEGLU_QUICK", c"SWIGLU_CLAMP",
];

fn name(list: &[&'static CStr], i: c_int) -> *const c_char {
    usize::try_from(i).ok().and_then(|i| list.get(i)).map_or(std::ptr::null(), |n| n.as_ptr())
}

fn position(list: &[&CStr], name: &CStr) -> c_int {
    list.iter().position(|n| *n == name).map_or(-1, |i| i as c_int)
}

/// "MUL_MAT" and the like; NULL for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_op_name(op: c_int) -> *const c_char {
    name(&OPS, op)
}

/// "SILU" and the like; NULL for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_unary_op_name(op: c_int) -> *const c_char {
    name(&UNARY, op)
}

/// "SWIGLU" and the like; NULL for a number that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_glu_op_name(op: c_int) -> *const c_char {
    name(&GLU, op)
}

/// The name of what a tensor is computed by: of the function, where the op is UNARY or GLU. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_op_desc(t: Option<&ggml_tensor>) -> *const c_char {
    let Some(t) = t else { return std::ptr::null() };
    match t.op {
        op if op == position(&OPS, c"UNARY") => name(&UNARY, t.op_params[0]),
        op if op == position(&OPS, c"GLU") => name(&GLU, t.op_params[0]),
        op => name(&OPS, op),
    }
}

/// What a status means, in words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ggml_status_to_string(status: c_int) -> *const c_char {
    let text = match status {
        -2 => c"no memory",
        -1 => c"failed",
        0 => c"success",
        1 => c"aborted",
        _ => c"unknown",
    };
    text.as_ptr()
}
