//! Streams and events. Work is done when it is handed over, in the order of the calls: one of the orders that a device may choose.
//! A stream that captures writes its work down instead.
use super::graph::{Graph, Work};
use super::{
    CAPTURE_IMPLICIT, CAPTURE_INVALIDATED, CAPTURE_UNMATCHED, CAPTURE_UNSUPPORTED, Code, Done, INVALID_HANDLE, INVALID_VALUE, NOT_READY,
    Out, State, in_context,
};
use std::thread::ThreadId;
use std::time::Instant;

/// The streams that everybody has: NULL, the legacy one and the one per thread.
const SHARED_STREAMS: std::ops::RangeInclusive<usize> = 0..=2;
const NON_BLOCKING: u32 = 1;
const DISABLE_TIMING: u32 = 2;
const RELAXED: u32 = 2;
const THREAD_LOCAL: u32 = 1;

pub struct Stream {
    pub device: usize,
    flags: u32,
    priority: i32,
    capture: Option<Capture>,
    /// The stream whose capture this one has joined by waiting for an event of it.
    joined: Option<usize>,
}

struct Capture {
    work: Vec<Work>,
    mode: u32,
    thread: ThreadId,
    is_broken: bool,
}

pub struct Event {
    flags: u32,
    at: Option<Instant>,
    /// The stream that captured it.
    captured: Option<usize>,
}

impl State {
    /// Which stream captures what goes to `stream`.
    fn capturing(&self, stream: usize) -> Option<usize> {
        let s = self.streams.get(stream).ok()?;
        if s.capture.is_some() { Some(stream) } else { s.joined.filter(|j| self.streams.get(*j).is_ok_and(|s| s.capture.is_some())) }
    }

    pub fn stream_is(&self, stream: usize) -> Done {
        if SHARED_STREAMS.contains(&stream) { Ok(()) } else { self.streams.get(stream).map(|_| ()) }
    }

    /// Does work, or writes it down where the stream captures.
    pub fn submit(&mut self, device: usize, stream: usize, work: Work) -> Done {
        self.stream_is(stream)?;
        if let Some(origin) = self.capturing(stream) {
            let capture = self.streams.get_mut(origin)?.capture.as_mut().ok_or(INVALID_HANDLE)?;
            if capture.is_broken {
                return Err(CAPTURE_INVALIDATED);
            }
            capture.work.push(work);
            return Ok(());
        }
        if stream < 2 {
            self.no_implicit_dependence()?;
        }
        self.perform(device, &work)
    }

    /// The legacy stream waits for all blocking ones, so none of those may capture.
    fn no_implicit_dependence(&mut self) -> Done {
        let mut code = Ok(());
        for s in self.streams.items.values_mut().filter(|s| s.flags & NON_BLOCKING == 0) {
            if let Some(c) = &mut s.capture {
                c.is_broken = true;
                code = Err(CAPTURE_IMPLICIT);
            }
        }
        code
    }

    /// For calls that a capture forbids: allocations, copies that wait, waits.
    pub fn not_capturing(&mut self, _device: usize) -> Done {
        let me = std::thread::current().id();
        let mut code = Ok(());
        for c in self.streams.items.values_mut().filter_map(|s| s.capture.as_mut()) {
            if c.mode != RELAXED && (c.mode != THREAD_LOCAL || c.thread == me) {
                c.is_broken = true;
                code = Err(CAPTURE_UNSUPPORTED);
            }
        }
        code
    }

    fn wait(&mut self, stream: usize) -> Done {
        self.stream_is(stream)?;
        match self.capturing(stream) {
            None => Ok(()),
            Some(origin) => {
                if let Some(c) = &mut self.streams.get_mut(origin)?.capture {
                    c.is_broken = true;
                }
                Err(CAPTURE_UNSUPPORTED)
            }
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreateWithPriority(stream: Out<usize>, flags: u32, priority: i32) -> u32 {
    in_context("cuStreamCreateWithPriority", |s, device| {
        if flags & !NON_BLOCKING != 0 || stream.is_null() {
            return Err(INVALID_VALUE);
        }
        let item = Stream { device, flags, priority: priority.clamp(-5, 0), capture: None, joined: None };
        stream.put(s.streams.add(&mut s.next, item))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreate(stream: Out<usize>, flags: u32) -> u32 {
    cuStreamCreateWithPriority(stream, flags, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: usize) -> u32 {
    in_context("cuStreamDestroy_v2", |s, _| s.streams.remove(stream).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetPriority(stream: usize, priority: Out<i32>) -> u32 {
    in_context("cuStreamGetPriority", |s, _| {
        let p = if SHARED_STREAMS.contains(&stream) { 0 } else { s.streams.get(stream)?.priority };
        priority.put(p)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetFlags(stream: usize, flags: Out<u32>) -> u32 {
    in_context("cuStreamGetFlags", |s, _| {
        let f = if SHARED_STREAMS.contains(&stream) { 0 } else { s.streams.get(stream)?.flags };
        flags.put(f)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: usize) -> u32 {
    in_context("cuStreamSynchronize", |s, _| s.wait(stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(stream: usize) -> u32 {
    in_context("cuStreamQuery", |s, _| s.wait(stream))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: usize, event: usize, _flags: u32) -> u32 {
    in_context("cuStreamWaitEvent", |s, _| {
        s.stream_is(stream)?;
        let captured = s.events.get(event)?.captured;
        let waits = s.streams.get_mut(stream).ok().filter(|s| s.capture.is_none());
        if let (Some(origin), Some(waits)) = (captured.filter(|o| *o != stream), waits) {
            waits.joined = Some(origin);
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: usize, mode: u32) -> u32 {
    in_context("cuStreamBeginCapture_v2", |s, _| {
        if mode > RELAXED {
            return Err(INVALID_VALUE);
        }
        if SHARED_STREAMS.contains(&stream) && stream < 2 {
            return Err(CAPTURE_UNSUPPORTED);
        }
        let s = s.streams.get_mut(stream)?;
        if s.capture.is_some() {
            return Err(super::ILLEGAL_STATE);
        }
        s.capture = Some(Capture { work: Vec::new(), mode, thread: std::thread::current().id(), is_broken: false });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamEndCapture(stream: usize, graph: Out<usize>) -> u32 {
    in_context("cuStreamEndCapture", |s, device| {
        let capture = s.streams.get_mut(stream)?.capture.take().ok_or(CAPTURE_UNMATCHED)?;
        for other in s.streams.items.values_mut().filter(|o| o.joined == Some(stream)) {
            other.joined = None;
        }
        if capture.is_broken {
            graph.put(0)?;
            return Err(CAPTURE_INVALIDATED);
        }
        graph.put(s.graphs.add(&mut s.next, Graph { device, work: capture.work }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamIsCapturing(stream: usize, status: Out<u32>) -> u32 {
    in_context("cuStreamIsCapturing", |s, _| {
        s.stream_is(stream)?;
        let capture = s.capturing(stream).and_then(|o| s.streams.get(o).ok()?.capture.as_ref());
        status.put(capture.map_or(0, |c| 1 + u32::from(c.is_broken)))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: usize,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<usize>,
    deps: Out<usize>,
    n: Out<usize>,
) -> u32 {
    in_context("cuStreamGetCaptureInfo_v2", |s, _| {
        s.stream_is(stream)?;
        let origin = s.capturing(stream);
        status.put(u32::from(origin.is_some()))?;
        id.put_if_wanted(origin.unwrap_or(0) as u64);
        graph.put_if_wanted(0);
        deps.put_if_wanted(0);
        n.put_if_wanted(0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(event: Out<usize>, flags: u32) -> u32 {
    in_context("cuEventCreate", |s, _| {
        if flags > 7 || event.is_null() {
            return Err(INVALID_VALUE);
        }
        event.put(s.events.add(&mut s.next, Event { flags, at: None, captured: None }))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: usize) -> u32 {
    in_context("cuEventDestroy_v2", |s, _| s.events.remove(event).map(|_| ()))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: usize, stream: usize) -> u32 {
    in_context("cuEventRecord", |s, _| {
        s.stream_is(stream)?;
        let captured = s.capturing(stream);
        let e = s.events.get_mut(event)?;
        e.captured = captured;
        if captured.is_none() {
            e.at = Some(Instant::now());
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecordWithFlags(event: usize, stream: usize, _flags: u32) -> u32 {
    cuEventRecord(event, stream)
}

fn finished(name: &'static str, event: usize) -> Code {
    in_context(name, |s, _| if s.events.get(event)?.captured.is_some() { Err(super::CAPTURED_EVENT) } else { Ok(()) })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: usize) -> u32 {
    finished("cuEventSynchronize", event)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: usize) -> u32 {
    finished("cuEventQuery", event)
}

fn elapsed(name: &'static str, ms: Out<f32>, start: usize, end: usize) -> Code {
    in_context(name, |s, _| {
        let (a, b) = (s.events.get(start)?, s.events.get(end)?);
        if (a.flags | b.flags) & DISABLE_TIMING != 0 {
            return Err(INVALID_HANDLE);
        }
        let (Some(from), Some(to)) = (a.at, b.at) else { return Err(INVALID_HANDLE) };
        if to < from {
            return Err(NOT_READY);
        }
        ms.put(to.duration_since(from).as_secs_f32() * 1000.0)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(ms: Out<f32>, start: usize, end: usize) -> u32 {
    elapsed("cuEventElapsedTime", ms, start, end)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime_v2(ms: Out<f32>, start: usize, end: usize) -> u32 {
    elapsed("cuEventElapsedTime_v2", ms, start, end)
}
