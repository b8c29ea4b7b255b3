//! Samplers as C has them: a table of functions and a state behind `llama_sampler`. Ours bring real tables, so that C may call through them;
//! foreign ones work inside our chains. Knows nothing of what a sampler does.
use super::boundary::guard;
use super::ptr;
use super::types::*;
use crate::sampling::{Candidates, Chain, Row, Sampler, TokenData, TryClone};
use platform::log;
use std::any::Any;
use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// A sampler of ours: the state is a `Box<dyn Sampler>`.
type Single = Box<dyn Sampler>;
/// A chain owns its links: `llama_sampler_free` of the chain frees them.
pub type LinkChain = Chain<Link>;

/// A table that C may read but nobody writes.
struct Table(llama_sampler_i);
// SAFETY: function pointers, never written.
unsafe impl Sync for Table {}

static SINGLE: Table = Table(table::<Single>());
/// A chain says that it can run with a model. What would call these two brings a graph of ggml, which our samplers do not write.
static CHAIN: Table = Table(llama_sampler_i { backend_init: Some(no_graph_init), backend_apply: Some(no_graph), ..table::<LinkChain>() });

unsafe extern "C" fn no_graph_init(_: *mut llama_sampler, _: ggml_backend_buffer_type_t, _: u32) -> bool {
    log::error("a sampler chain runs with the model by llama_set_sampler only: backend_init is refused");
    false
}
unsafe extern "C" fn no_graph(_: *mut llama_sampler, _: *mut ggml_context, _: *mut ggml_cgraph, _: *mut llama_sampler_data) {
    log::error("a sampler chain runs with the model by llama_set_sampler only: backend_apply does nothing");
}

const fn table<S: Sampler + TryClone>() -> llama_sampler_i {
    llama_sampler_i {
        name: Some(name::<S>),
        accept: Some(accept::<S>),
        apply: Some(apply::<S>),
        reset: Some(reset::<S>),
        clone: Some(clone::<S>),
        free: Some(free::<S>),
        backend_init: None,
        backend_accept: None,
        backend_apply: None,
        backend_set_input: None,
        backend_reset: None,
        copy_state: Some(copy_state::<S>),
    }
}

fn is(smpl: &llama_sampler, table: &'static Table) -> bool {
    std::ptr::eq(smpl.iface, &table.0)
}

/// A new handle; freed by `llama_sampler_free`.
pub fn handle(iface: *mut llama_sampler_i, ctx: llama_sampler_context_t) -> *mut llama_sampler {
    Box::into_raw(Box::new(llama_sampler { iface, ctx }))
}

fn owned<S>(state: S, table: &'static Table) -> *mut llama_sampler {
    handle(std::ptr::from_ref(&table.0).cast_mut(), Box::into_raw(Box::new(state)).cast())
}

pub fn single(s: Single) -> *mut llama_sampler {
    owned(s, &SINGLE)
}

pub fn chain(no_perf: bool) -> *mut llama_sampler {
    owned(LinkChain::new(no_perf), &CHAIN)
}

/// The chain behind a handle; `None` for NULL and for any other sampler.
///
/// # Safety
/// `smpl` is NULL or a live sampler that nobody else is using.
pub unsafe fn as_chain<'a>(smpl: *const llama_sampler) -> Option<&'a mut LinkChain> {
    // SAFETY: the caller's promise; a handle with our table has our state.
    unsafe {
        let s = smpl.as_ref().filter(|s| is(s, &CHAIN))?;
        s.ctx.cast::<LinkChain>().as_mut()
    }
}

/// A sampler of C's, foreign or ours, as a link of a chain.
pub struct Link(NonNull<llama_sampler>);

// SAFETY: a chain and its links are used by one thread at a time, which llama.h asks of the caller.
unsafe impl Send for Link {}

impl Link {
    pub fn new(smpl: *mut llama_sampler) -> Option<Link> {
        NonNull::new(smpl).map(Link)
    }
    pub fn as_ptr(&self) -> *mut llama_sampler {
        self.0.as_ptr()
    }
    /// Gives the sampler back to the caller.
    pub fn into_raw(self) -> *mut llama_sampler {
        let p = self.as_ptr();
        std::mem::forget(self);
        p
    }
    fn sampler(&self) -> llama_sampler {
        // SAFETY: alive while the link is; copied, because a function of the table may change it.
        unsafe { *self.as_ptr() }
    }
    fn table(&self) -> llama_sampler_i {
        // SAFETY: NULL, or a table that lives as long as its sampler.
        unsafe { self.sampler().iface.as_ref() }.copied().unwrap_or(NO_TABLE)
    }
}

const NO_TABLE: llama_sampler_i = llama_sampler_i {
    name: None,
    accept: None,
    apply: None,
    reset: None,
    clone: None,
    free: None,
    backend_init: None,
    backend_accept: None,
    backend_apply: None,
    backend_set_input: None,
    backend_reset: None,
    copy_state: None,
};

impl Drop for Link {
    fn drop(&mut self) {
        // SAFETY: the link owned the handle, and every handle comes from `handle`.
        unsafe {
            if let Some(free) = self.table().free {
                free(self.as_ptr());
            }
            drop(Box::from_raw(self.as_ptr()));
        }
    }
}

impl TryClone for Link {
    /// A sampler without `clone` and without state is copied as it stands.
    fn try_clone(&self) -> Option<Link> {
        let s = self.sampler();
        let copy = match self.table().clone {
            // SAFETY: the table's function gets its own sampler.
            Some(clone) => unsafe { clone(self.as_ptr()) },
            None if s.ctx.is_null() => handle(s.iface, s.ctx),
            None => std::ptr::null_mut(),
        };
        if copy.is_null() {
            log::error(format_args!("sampler {:?} cannot be cloned", self.name()));
        }
        Link::new(copy)
    }
}

impl Sampler for Link {
    fn name(&self) -> &CStr {
        // SAFETY: a table's name is NULL or a string that lives as long as the sampler.
        let text = self.table().name.map_or(std::ptr::null(), |name| unsafe { name(self.as_ptr()) });
        if text.is_null() {
            return c"(null)";
        }
        // SAFETY: as above.
        unsafe { CStr::from_ptr(text) }
    }
    fn apply(&mut self, c: &mut Candidates<'_>) {
        let Some(apply) = self.table().apply else {
            return log::error(format_args!("sampler {:?} has no apply function", self.name()));
        };
        let mut array = to_c(c);
        // SAFETY: the table's function gets its own sampler and a valid array.
        unsafe { apply(self.as_ptr(), &raw mut array) };
        // SAFETY: the function left the array valid; `c` is not looked at between.
        *c = unsafe { from_c(&array) };
    }
    fn accept(&mut self, token: i32) {
        if let Some(accept) = self.table().accept {
            // SAFETY: the table's function gets its own sampler.
            unsafe { accept(self.as_ptr(), token) }
        }
    }
    fn reset(&mut self) {
        if let Some(reset) = self.table().reset {
            // SAFETY: the table's function gets its own sampler.
            unsafe { reset(self.as_ptr()) }
        }
    }
    fn clone_box(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(self.try_clone()?))
    }
    fn copy_state(&mut self, src: &dyn Any) -> bool {
        src.downcast_ref::<Link>().is_some_and(|src| self.take_over(src))
    }
    fn keeps_best(&self) -> Option<usize> {
        self.ours()?.keeps_best()
    }
    fn attach(&mut self, outputs_per_seq: u32) -> bool {
        self.ours_mut().is_some_and(|s| s.attach(outputs_per_seq))
    }
    fn detach(&mut self) {
        self.ours_mut().into_iter().for_each(|s| s.detach());
    }
    fn begin(&mut self) {
        self.ours_mut().into_iter().for_each(|s| s.begin());
    }
    fn run(&mut self, row: &mut Row) {
        self.ours_mut().into_iter().for_each(|s| s.run(row));
    }
    fn seed(&self) -> Option<u32> {
        self.ours()?.seed()
    }
}

impl Link {
    /// The sampler behind a handle of ours.
    fn ours(&self) -> Option<&dyn Sampler> {
        let s = self.sampler();
        // SAFETY: a handle with our table has our state.
        unsafe {
            match &s {
                s if is(s, &SINGLE) => Some(s.ctx.cast::<Single>().as_ref()?),
                s if is(s, &CHAIN) => Some(s.ctx.cast::<LinkChain>().as_ref()?),
                _ => None,
            }
        }
    }

    /// The same, to change; a chain inside a chain runs apart.
    fn ours_mut(&mut self) -> Option<&mut dyn Sampler> {
        let s = self.sampler();
        // SAFETY: a handle with our table has our state.
        unsafe { if is(&s, &SINGLE) { Some(s.ctx.cast::<Single>().as_mut()?) } else { None } }
    }

    /// It can do its work in a graph of ggml and nowhere else.
    pub fn needs_a_graph(&self) -> bool {
        let t = self.table();
        t.apply.is_none() && t.backend_apply.is_some()
    }

    /// The state of `src`, by the table's own function or by a clone that is put in the place of what was here.
    fn take_over(&mut self, src: &Link) -> bool {
        if !std::ptr::eq(self.sampler().iface, src.sampler().iface) {
            return false;
        }
        if let Some(copy) = self.table().copy_state {
            // SAFETY: both samplers have this table.
            unsafe { copy(src.as_ptr(), self.as_ptr()) };
            return true;
        }
        let Some(clone) = src.try_clone() else { return false };
        // SAFETY: both handles are ours to use; the clone leaves with the old state and frees it.
        unsafe { std::mem::swap(&mut (*self.as_ptr()).ctx, &mut (*clone.as_ptr()).ctx) };
        true
    }
}

/// A sampler that C owns, as a link for the time of one call; `None` for NULL.
///
/// # Safety
/// `smpl` is NULL or a live sampler that nobody else is using.
pub unsafe fn borrow(smpl: *const llama_sampler) -> Option<ManuallyDrop<Link>> {
    Link::new(smpl.cast_mut()).map(ManuallyDrop::new)
}

fn to_c(c: &mut Candidates<'_>) -> llama_token_data_array {
    let selected = c.selected.and_then(|i| i64::try_from(i).ok()).unwrap_or(-1);
    llama_token_data_array { data: c.data.as_mut_ptr().cast(), size: c.data.len(), selected, sorted: c.sorted }
}

/// # Safety
/// `a.data` is NULL or points to `a.size` elements that nobody else uses for `'a`.
unsafe fn from_c<'a>(a: &llama_token_data_array) -> Candidates<'a> {
    // SAFETY: the caller's promise; the two element types have one layout.
    let data = unsafe { ptr::slice_mut(a.data.cast::<TokenData>(), a.size) }.unwrap_or_default();
    Candidates { data, selected: usize::try_from(a.selected).ok(), sorted: a.sorted }
}

/// Lets `s` work on C's array.
///
/// # Safety
/// `a.data` is NULL or points to `a.size` elements that nobody else uses.
pub unsafe fn apply_to(s: &mut impl Sampler, a: &mut llama_token_data_array) {
    // SAFETY: the caller's promise.
    let mut c = unsafe { from_c(a) };
    s.apply(&mut c);
    *a = to_c(&mut c);
}

// ---- the functions of our tables. SAFETY of each: C passes a live sampler with this table, hence with a state of type S.

unsafe fn state<'a, S>(smpl: *const llama_sampler) -> Option<&'a mut S> {
    // SAFETY: see above.
    unsafe { smpl.as_ref()?.ctx.cast::<S>().as_mut() }
}

unsafe extern "C" fn name<S: Sampler>(smpl: *const llama_sampler) -> *const c_char {
    // SAFETY: see above.
    guard(c"".as_ptr(), || unsafe { state::<S>(smpl) }.map_or(c"(null)".as_ptr(), |s| s.name().as_ptr()))
}
unsafe extern "C" fn accept<S: Sampler>(smpl: *mut llama_sampler, token: llama_token) {
    // SAFETY: see above.
    guard((), || unsafe { state::<S>(smpl) }.into_iter().for_each(|s| s.accept(token)))
}
unsafe extern "C" fn apply<S: Sampler>(smpl: *mut llama_sampler, cur_p: *mut llama_token_data_array) {
    // SAFETY: see above; cur_p is NULL or a valid array.
    guard((), || unsafe {
        if let (Some(s), Some(a)) = (state::<S>(smpl), cur_p.as_mut()) {
            apply_to(s, a);
        }
    })
}
unsafe extern "C" fn reset<S: Sampler>(smpl: *mut llama_sampler) {
    // SAFETY: see above.
    guard((), || unsafe { state::<S>(smpl) }.into_iter().for_each(S::reset))
}
unsafe extern "C" fn clone<S: TryClone>(smpl: *const llama_sampler) -> *mut llama_sampler {
    guard(std::ptr::null_mut(), || {
        // SAFETY: see above; the copy has the same table and a state of the same type.
        let copy = unsafe { state::<S>(smpl) }.and_then(|s| s.try_clone());
        // SAFETY: `smpl` was looked at already.
        copy.map_or(std::ptr::null_mut(), |c| handle(unsafe { (*smpl).iface }, Box::into_raw(Box::new(c)).cast()))
    })
}
unsafe extern "C" fn free<S>(smpl: *mut llama_sampler) {
    // SAFETY: see above; the state came from a box and C does not use it again.
    guard((), || unsafe {
        if let Some(s) = smpl.as_mut().filter(|s| !s.ctx.is_null()) {
            drop(Box::from_raw(std::mem::replace(&mut s.ctx, std::ptr::null_mut()).cast::<S>()));
        }
    })
}
unsafe extern "C" fn copy_state<S: Sampler>(src: *const llama_sampler, dst: *mut llama_sampler) {
    // SAFETY: see above, for both.
    guard((), || unsafe {
        if let (Some(from), Some(to)) = (state::<S>(src), state::<S>(dst))
            && !to.copy_state(from)
        {
            log::error(format_args!("sampler {:?} is of another kind than {:?}", from.name(), to.name()));
        }
    })
}
