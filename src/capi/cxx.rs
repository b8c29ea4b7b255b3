//! C++ functions of the original that its common library, node-llama-cpp's addon and two of its tests import, by their mangled names: memory reports,
//! names of architectures, grammars without a sampler. What a C++ object looks like is said in `libstdcxx`.
//!
//! A function that gives a C++ object has room for it as its first argument and gives that back, which is how x86-64 passes it.
#![allow(non_camel_case_types, reason = "the names of llama-grammar.h")]
use super::boundary::{attempt, guard, with};
use super::devices;
use super::handles::with_context;
use super::host;
use super::libstdcxx::{Map, Text, Vector};
use super::links;
use super::ptr;
use super::types::*;
use crate::grammar::Grammar;
use crate::model::arch;
use crate::sampling;
use crate::vocab::{code_points, encode_code_point};
use platform::log;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::OnceLock;

// ---- memory reports

/// Experts of a layer; 0 where there are none.
#[unsafe(export_name = "_Z20llama_model_n_expertPK11llama_model")]
pub unsafe extern "C" fn llama_model_n_expert(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_expert", model, 0, |m| i32::try_from(m.0.model.hp.n_expert).unwrap_or(i32::MAX))
}

/// Devices beside the CPU that hold a part of the model.
#[unsafe(export_name = "_Z21llama_model_n_devicesPK11llama_model")]
pub unsafe extern "C" fn llama_model_n_devices(model: Option<&llama_model>) -> i32 {
    with("llama_model_n_devices", model, 0, |m| i32::try_from(m.0.model.devices.len()).unwrap_or(i32::MAX))
}

/// The i-th of them, as the program's libggml has it; NULL where there are not so many, or no libggml knows it.
#[unsafe(export_name = "_Z22llama_model_get_devicePK11llama_modeli")]
pub unsafe extern "C" fn llama_model_get_device(model: Option<&llama_model>, i: c_int) -> ggml_backend_dev_t {
    with("llama_model_get_device", model, std::ptr::null_mut(), |m| {
        let device = usize::try_from(i).ok().and_then(|i| m.0.model.devices.get(i));
        device.and_then(|d| devices::handle(d.as_ref())).map_or(std::ptr::null_mut(), |h| h.as_ptr())
    })
}

/// Bytes by buffer type, for the model, the KV store and activations: what a context may come to take. `camelid_kv_resident` says what it takes.
/// std::map<ggml_backend_buffer_type_t, size_t[3]>, empty where the program brought no libggml whose buffer type could be named.
#[unsafe(export_name = "_Z26llama_get_memory_breakdownPK13llama_context")]
pub unsafe extern "C" fn llama_get_memory_breakdown(out: *mut Map, ctx: Option<&llama_context>) -> *mut Map {
    let sizes = with_context("llama_get_memory_breakdown", ctx.map(|c| &c.0.ctx), None, |c| {
        let [kv, activations] = c.reserved();
        Some([c.model.held_bytes(), kv, activations])
    });
    // SAFETY: the caller's promise: room for this map.
    unsafe { Map::put(out, sizes.and_then(|_| cpu_buffer_type()), sizes.unwrap_or_default()) };
    out
}

/// The same, as a method.
#[unsafe(export_name = "_ZNK13llama_context16memory_breakdownEv")]
pub unsafe extern "C" fn llama_context_memory_breakdown(out: *mut Map, ctx: Option<&llama_context>) -> *mut Map {
    // SAFETY: the same promise.
    unsafe { llama_get_memory_breakdown(out, ctx) }
}

/// Bytes of the model by buffer type: std::map<ggml_backend_buffer_type_t, size_t>.
#[unsafe(export_name = "_ZNK11llama_model16memory_breakdownEv")]
pub unsafe extern "C" fn llama_model_memory_breakdown(out: *mut Map, model: Option<&llama_model>) -> *mut Map {
    let bytes = with("llama_model::memory_breakdown", model, None, |m| Some(m.0.model.held_bytes()));
    // SAFETY: the caller's promise: room for this map.
    unsafe { Map::put(out, bytes.and_then(|_| cpu_buffer_type()), bytes.unwrap_or_default()) };
    out
}

/// Plain memory, as the program's libggml calls it.
fn cpu_buffer_type() -> Option<NonNull<c_void>> {
    let found = host::symbol(c"ggml_backend_cpu_buffer_type")?;
    // SAFETY: the name says its type.
    let of: unsafe extern "C" fn() -> *mut c_void = unsafe { std::mem::transmute(found.as_ptr()) };
    // SAFETY: it takes nothing.
    NonNull::new(unsafe { of() })
}

// ---- architectures

/// `LLM_ARCH_UNKNOWN` of v0.5.0, which programs have compiled in. Other numbers only travel between the functions below: here they are places in
/// the list of what is built.
const UNKNOWN: c_int = 0x98;

fn arch_names() -> &'static [CString] {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    NAMES.get_or_init(|| arch::ALL.iter().take(UNKNOWN as usize).filter_map(|a| CString::new(a.name).ok()).collect())
}

/// All architectures: std::vector<llm_arch>.
#[unsafe(export_name = "_Z12llm_arch_allv")]
pub unsafe extern "C" fn llm_arch_all() -> Vector<c_int> {
    guard(Vector::EMPTY, || Vector::of(&(0..arch_names().len() as c_int).collect::<Vec<_>>()))
}

/// An architecture's name, or "unknown".
#[unsafe(export_name = "_Z13llm_arch_name8llm_arch")]
pub unsafe extern "C" fn llm_arch_name(arch: c_int) -> *const c_char {
    let name = || usize::try_from(arch).ok().and_then(|i| arch_names().get(i)).map_or(c"unknown".as_ptr(), |n| n.as_ptr());
    guard(c"unknown".as_ptr(), name)
}

/// The architecture of a name.
#[unsafe(export_name = "_Z20llm_arch_from_stringRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")]
pub unsafe extern "C" fn llm_arch_from_string(name: Option<&Text>) -> c_int {
    // SAFETY: the caller's promise: a std::string.
    let name = name.map_or(&b""[..], |n| unsafe { n.bytes() });
    guard(UNKNOWN, || arch_names().iter().position(|n| n.to_bytes() == name).map_or(UNKNOWN, |i| i as c_int))
}

/// Whether its memory is a state. None of those that are built.
#[unsafe(export_name = "_Z21llm_arch_is_recurrentRK8llm_arch")]
pub unsafe extern "C" fn llm_arch_is_recurrent(_arch: *const c_int) -> bool {
    false
}

/// Whether it mixes states and attention. None of those that are built.
#[unsafe(export_name = "_Z18llm_arch_is_hybridRK8llm_arch")]
pub unsafe extern "C" fn llm_arch_is_hybrid(_arch: *const c_int) -> bool {
    false
}

// ---- grammars without a sampler

/// A place in a grammar's rules, as the original has it: an end.
#[repr(C)]
struct Element {
    kind: u32,
    value: u32,
}

static SOME_ELEMENT: Element = Element { kind: 0, value: 0 };

type Stack = Vector<*const Element>;

/// The original's grammar: only how many stacks there are, and whether one is empty (the text may end there), can be seen of it.
pub struct llama_grammar {
    grammar: Grammar,
    /// What the stack that is not empty shows.
    inside: [*const Element; 1],
    list: [Stack; 2],
    shown: Vector<Stack>,
}

impl llama_grammar {
    fn new(grammar: Grammar) -> *mut llama_grammar {
        let all = llama_grammar { grammar, inside: [&raw const SOME_ELEMENT], list: [Stack::EMPTY; 2], shown: Vector::EMPTY };
        let mut all = Box::new(all);
        // The box stays where it is, and so does what the vectors point to.
        all.list[0] = Vector::over(all.inside.as_mut_ptr(), 1);
        all.show(true);
        Box::into_raw(all)
    }

    fn show(&mut self, alive: bool) {
        let n = usize::from(alive) + usize::from(alive && self.grammar.may_end());
        self.shown = Vector::over(self.list.as_mut_ptr(), n);
    }
}

/// A grammar from its text. NULL where it cannot be read, and for lazy ones, which only samplers know here.
#[unsafe(export_name = "_Z23llama_grammar_init_implPK11llama_vocabPKcS3_bPS3_mPKim")]
pub unsafe extern "C" fn llama_grammar_init_impl(
    _vocab: Option<&llama_vocab>,
    grammar_str: *const c_char,
    grammar_root: *const c_char,
    lazy: bool,
    _trigger_patterns: *mut *const c_char,
    _num_trigger_patterns: usize,
    _trigger_tokens: *const llama_token,
    _num_trigger_tokens: usize,
) -> *mut llama_grammar {
    // SAFETY: NULL or terminated strings.
    let texts = unsafe { ptr::text(grammar_str).zip(ptr::text(grammar_root)) };
    with("llama_grammar_init_impl", texts, std::ptr::null_mut(), |(text, root)| match lazy {
        true => {
            log::error("llama_grammar_init_impl: lazy grammars are samplers: llama_sampler_init_grammar_lazy_patterns");
            std::ptr::null_mut()
        }
        false => attempt(std::ptr::null_mut(), || Ok(llama_grammar::new(Grammar::new(text, root, &|_| None)?))),
    })
}

/// Frees a grammar.
#[unsafe(export_name = "_Z23llama_grammar_free_implP13llama_grammar")]
pub unsafe extern "C" fn llama_grammar_free_impl(grammar: *mut llama_grammar) {
    // SAFETY: NULL or a handle from here that the caller gives up.
    guard((), || unsafe { drop((!grammar.is_null()).then(|| Box::from_raw(grammar))) })
}

/// What may still be read: none where the text was not allowed, an empty one where it may end. The reference stays, what is behind it changes.
#[unsafe(export_name = "_Z24llama_grammar_get_stacksP13llama_grammar")]
pub unsafe extern "C" fn llama_grammar_get_stacks(grammar: *mut llama_grammar) -> *const c_void {
    if grammar.is_null() {
        static NONE: [usize; 3] = [0; 3];
        return NONE.as_ptr().cast();
    }
    // SAFETY: a handle from here; only an address is taken.
    unsafe { (&raw const (*grammar).shown).cast() }
}

/// Reads a character.
#[unsafe(export_name = "_Z20llama_grammar_acceptP13llama_grammarj")]
pub unsafe extern "C" fn llama_grammar_accept(grammar: *mut llama_grammar, chr: u32) {
    // SAFETY: NULL or a handle from here that nobody else uses.
    with("llama_grammar_accept", unsafe { grammar.as_mut() }, (), |g| {
        let alive = attempt(false, || g.grammar.read(chr));
        g.show(alive)
    })
}

/// The code points of a text: std::vector<uint32_t>.
#[unsafe(export_name = "_Z22unicode_cpts_from_utf8RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE")]
pub unsafe extern "C" fn unicode_cpts_from_utf8(utf8: Option<&Text>) -> Vector<u32> {
    // SAFETY: the caller's promise: a std::string.
    let bytes = utf8.map_or(&b""[..], |t| unsafe { t.bytes() });
    guard(Vector::EMPTY, || Vector::of(&code_points(bytes).collect::<Vec<_>>()))
}

/// A code point as text: std::string. Empty for what is none.
#[unsafe(export_name = "_Z19unicode_cpt_to_utf8B5cxx11j")]
pub unsafe extern "C" fn unicode_cpt_to_utf8(out: *mut Text, cpt: u32) -> *mut Text {
    let mut text = Vec::new();
    if cpt <= 0x10_FFFF {
        encode_code_point(cpt, &mut text);
    }
    // SAFETY: the caller's promise: room for this string.
    unsafe { Text::put(out, &text) };
    out
}

/// `llama_sampler_init_dry` with breakers in tokens, without a vocabulary.
#[unsafe(export_name = "_Z30llama_sampler_init_dry_testingffiiRKSt6vectorIS_IiSaIiEESaIS1_EE")]
pub unsafe extern "C" fn llama_sampler_init_dry_testing(
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: i32,
    dry_penalty_last_n: i32,
    seq_breakers: Option<&Vector<Vector<llama_token>>>,
) -> *mut llama_sampler {
    let mut breakers = sampling::Breakers::new();
    // SAFETY: the caller's promise: a vector of vectors.
    for breaker in seq_breakers.map_or(&[][..], |b| unsafe { b.elements() }) {
        // SAFETY: as above.
        if let Some((head, tail)) = unsafe { breaker.elements() }.split_first() {
            breakers.entry(*head).or_default().push(tail.to_vec());
        }
    }
    let make = || sampling::dry(dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, || breakers);
    guard(std::ptr::null_mut(), || links::single(make()))
}
