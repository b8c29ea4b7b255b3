"""States of many architectures, and what comes after them. Runs in the processes that sides.run starts."""
import os, struct, tempfile
import numpy as np
import engine
from engine import L


def plane(c, at, size, first):
    """Embeddings of a picture of size[0] rows and size[1] columns at position `at`."""
    n, n_embd = size[0] * size[1], L.llama_model_n_embd(c.model.p)
    b = L.llama_batch_init(n, n_embd, 1)
    b.n_tokens = n
    values = np.random.default_rng(first).standard_normal(n * n_embd).astype(np.float32)
    engine.ctypes.memmove(b.embd, values.ctypes.data, values.nbytes)
    pos = np.array([[at] * n, [at + i // size[1] for i in range(n)], [at + i % size[1] for i in range(n)], [0] * n], np.int32)
    keep = (L.llama_pos * (4 * n))(*pos.ravel().tolist())
    b.pos = keep
    for i in range(n):
        b.n_seq_id[i], b.logits[i] = 1, 0
        b.seq_id[i][0] = 0
    rc = L.llama_decode(c.p, b)
    assert rc == 0, (rc, engine.said())


def fill(s, job):
    """All but what comes next; the position that is next."""
    t, n = job["tokens"], job["n"]
    if "plane" not in job:
        s.c.feed(t[:n], 0, n)
        return n
    cells = job["plane"][0] * job["plane"][1]
    s.c.feed(t[:10], 0, 10)
    plane(s.c, 10, job["plane"], 1)
    s.c.feed(t[10:n - cells], 10 + max(job["plane"]), n)
    return n - cells + max(job["plane"])


def each(jobs, f):
    import test_state
    for job in jobs:
        yield f(test_state.States(engine.Model(job["model"]), n_ctx=256, n_threads=1), job)


def saved(jobs):
    def one(s, job):
        end = fill(s, job)
        return {"states": [s.get(0), s.get()], "next": s.c.feed(job["tokens"][job["n"]:], end, 64), "ext": L.llama_model_rope_type(s.model.p) in (8, 40)}
    return list(each(jobs, one))


def resumed(jobs):
    def one(s, job):
        got = []
        end = job["n"] if "plane" not in job else job["n"] - job["plane"][0] * job["plane"][1] + max(job["plane"])
        for seq, blob in zip((0, None), job["states"]):
            s.c.clear()
            if job.get("version"):
                with tempfile.TemporaryDirectory() as d:
                    path = os.path.join(d, "f")
                    with open(path, "wb") as f:
                        f.write(struct.pack("<III", 0x67677371, job["version"], 0) + blob[8:])
                    good = s.load(path, 0)[0]
            else:
                good = s.set(blob, seq) == len(blob)
            got.append(s.c.feed(job["tokens"][job["n"]:], end, 64) if good else engine.said())
        return got
    return list(each(jobs, one))
