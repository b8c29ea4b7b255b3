//! What streams do, as values, so that it can be kept and done again: graphs.
use super::module::KernelCall;
use super::{Done, EXEC_UPDATE_FAILURE, INVALID_VALUE, Out, State, in_context};
use std::ffi::c_void;

#[derive(Clone)]
pub enum Work {
    Launch(Box<KernelCall>),
    /// Bytes from one address to another; the kind is for the counts.
    Copy {
        to: u64,
        from: u64,
        len: u64,
        kind: &'static str,
    },
    /// Rows: (address, distance of rows) of both, bytes of a row, rows.
    Rows {
        to: (u64, u64),
        from: (u64, u64),
        width: u64,
        height: u64,
    },
    Fill {
        to: u64,
        value: u32,
        size: u64,
        count: u64,
    },
    Call {
        function: extern "C" fn(*mut c_void),
        data: usize,
    },
    Free {
        at: u64,
    },
}

#[derive(Clone)]
pub struct Graph {
    pub device: usize,
    pub work: Vec<Work>,
}

impl State {
    pub fn perform(&mut self, device: usize, work: &Work) -> Done {
        match work {
            Work::Launch(call) => self.run_kernel(device, call),
            Work::Copy { to, from, len, kind } => {
                self.count_copy(kind, *len);
                self.copy(*to, *from, *len)
            }
            Work::Rows { to, from, width, height } => {
                self.count_copy("rows", width * height);
                (0..*height).try_for_each(|i| self.copy(to.0 + i * to.1, from.0 + i * from.1, *width))
            }
            Work::Fill { to, value, size, count } => self.fill(*to, *value, *size, *count),
            Work::Call { function, data } => {
                function(*data as *mut c_void);
                Ok(())
            }
            Work::Free { at } => self.free(*at),
        }
    }
}

/// Whether an instance of `old` can be told to do `new` instead.
fn is_alike(old: &[Work], new: &[Work]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(a, b)| std::mem::discriminant(a) == std::mem::discriminant(b))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithFlags(exec: Out<usize>, graph: usize, _flags: u64) -> u32 {
    in_context("cuGraphInstantiateWithFlags", |s, _| {
        let copy = s.graphs.get(graph)?.clone();
        exec.put(s.execs.add(&mut s.next, copy))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(exec: usize, stream: usize) -> u32 {
    in_context("cuGraphLaunch", |s, _| {
        let graph = s.execs.get(exec)?.clone();
        graph.work.into_iter().try_for_each(|w| s.submit(graph.device, stream, w))
    })
}

/// CUgraphExecUpdateResultInfo: the result, the node that failed and where it came from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UpdateResult {
    result: u32,
    node: usize,
    from: usize,
}

fn update(s: &mut State, exec: usize, graph: usize) -> Done {
    let new = s.graphs.get(graph)?.clone();
    let old = s.execs.get_mut(exec)?;
    if !is_alike(&old.work, &new.work) {
        return Err(EXEC_UPDATE_FAILURE);
    }
    *old = new;
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecUpdate_v2(exec: usize, graph: usize, info: Out<UpdateResult>) -> u32 {
    in_context("cuGraphExecUpdate_v2", |s, _| {
        let done = update(s, exec, graph);
        // CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED
        info.put(UpdateResult { result: if done.is_ok() { 0 } else { 2 }, node: 0, from: 0 })?;
        done
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphUpload(exec: usize, stream: usize) -> u32 {
    in_context("cuGraphUpload", |s, _| {
        s.stream_is(stream)?;
        s.execs.get(exec).map(|_| ())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: usize) -> u32 {
    in_context("cuGraphDestroy", |s, _| s.graphs.remove(graph).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(exec: usize) -> u32 {
    in_context("cuGraphExecDestroy", |s, _| s.execs.remove(exec).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphGetNodes(graph: usize, nodes: Out<usize>, count: Out<usize>) -> u32 {
    in_context("cuGraphGetNodes", |s, _| {
        let n = s.graphs.get(graph)?.work.len();
        if !nodes.is_null() {
            nodes.put_all(&(1..=n).collect::<Vec<_>>());
        }
        count.put(n)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchHostFunc(stream: usize, function: Option<extern "C" fn(*mut c_void)>, data: usize) -> u32 {
    in_context("cuLaunchHostFunc", |s, device| {
        let function: extern "C" fn(*mut c_void) = function.ok_or(INVALID_VALUE)?;
        s.submit(device, stream, Work::Call { function, data })
    })
}
