"""What a decoder with an index says along given tokens. Runs in the processes that sides.run starts."""
import engine
from engine import L


def types(job):
    return {"type_k": job["kv"], "type_v": job["kv"], "flash_attn_type": 1} if "kv" in job else {}


def logits(job):
    """Of all tokens, in chunks."""
    m = engine.Model(job["model"])
    c = m.context(n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=32, swa_full=False, **types(job))
    rows = c.feed(job["tokens"], 0, job["chunk"])
    c.free()
    return rows


def bits(job):
    """Logits of all tokens by how they come: (tokens at a time, n_ubatch, threads)."""
    m, out = engine.Model(job["model"]), []
    for chunk, n_ubatch, n_threads in job["ways"]:
        c = m.context(n_ctx=512, n_batch=512, n_ubatch=n_ubatch, n_threads=n_threads, n_threads_batch=n_threads)
        out.append(c.feed(job["tokens"], 0, chunk))
        c.free()
    return out


def again(job):
    """The last tokens, once as they come and once more after all behind the first `n` was removed."""
    m = engine.Model(job["model"])
    c, n = m.context(n_ctx=512, n_batch=512, n_ubatch=64, swa_full=job["swa_full"]), job["n"]
    first = c.feed(job["tokens"], 0, 64)
    assert L.llama_memory_seq_rm(c.memory, 0, n, -1), engine.said()
    second = c.feed(job["tokens"][n:], n, 64)
    c.free()
    return first[n:], second


def moved(job):
    """The last tokens behind others that were moved, and behind the same that always stood there."""
    m, n, by = engine.Model(job["model"]), job["n"], job["by"]
    c = m.context(n_ctx=512, n_batch=512)
    c.feed(job["tokens"][:n], 0, 64)
    L.llama_memory_seq_add(c.memory, 0, 0, -1, by)
    first = c.feed(job["tokens"][n:], n + by, 64)
    c.clear()
    c.feed(job["tokens"][:n], by, 64)
    second = c.feed(job["tokens"][n:], n + by, 64)
    c.free()
    return first, second


def saved(job):
    """The state after the first `n` tokens (a sequence's, or all of it), and what comes next."""
    import test_state
    m, n = engine.Model(job["model"]), job["n"]
    s = test_state.States(m, **types(job))
    s.c.feed(job["tokens"][:n], 0, 64)
    states = [s.get(0), s.get()]
    return states, s.c.feed(job["tokens"][n:], n, 64)


def resumed(job):
    """What comes next after each of these states."""
    import test_state
    m, n, out = engine.Model(job["model"]), job["n"], []
    for seq, blob in zip((0, None), job["states"]):
        s = test_state.States(m, **types(job))
        assert s.set(blob, seq) == len(blob), engine.said()
        out.append(s.c.feed(job["tokens"][n:], n, 64))
        s.c.free()
    return out
