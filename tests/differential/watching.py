"""What `cb_eval` shows, read out of ggml tensors. Runs in the processes that sides.run starts."""
import ctypes
import numpy as np
import llama_cpp.llama_cpp as L
import engine

MUL_MAT, MUL_MAT_ID = 29, 30
TYPES = {0: np.float32, 26: np.int32}


class Tensor(ctypes.Structure):
    pass


Tensor._fields_ = [
    ("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4), ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32), ("src", ctypes.POINTER(Tensor) * 10), ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64), ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8)]
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.POINTER(Tensor), ctypes.c_bool, ctypes.c_void_p)


def values(t):
    """[ne2][ne1][ne0] of a tensor in memory."""
    dtype, ne, nb = TYPES[t.type], list(t.ne), list(t.nb)
    end = sum((n - 1) * b for n, b in zip(ne, nb)) + 4
    flat = np.frombuffer((ctypes.c_char * end).from_address(t.data), dtype=np.uint8)
    return np.lib.stride_tricks.as_strided(flat.view(dtype), (ne[2], ne[1], ne[0]), (nb[2], nb[1], nb[0])).copy()


class Watcher:
    """Named values as they were last, and sums of squares of what goes into each matrix: what an importance matrix is made of."""

    def __init__(self, names):
        self.names, self.seen, self.squares, self.asked, self.order = names, {}, {}, [], []

    def __call__(self, p, ask, _):
        t = p.contents
        name = t.name.decode()
        product = t.op in (MUL_MAT, MUL_MAT_ID) and t.src[0].contents.name.startswith((b"blk.", b"output", b"token_embd"))
        wanted = product or name.split("-")[0] in self.names
        if ask:
            self.asked.append(name)
            return wanted
        self.order.append(name)
        if name.split("-")[0] in self.names:
            self.seen[name] = values(t)
        if product:
            self.add(t)
        return True

    def add(self, t):
        weight, x = t.src[0].contents, values(t.src[1].contents)
        name, n = weight.name.decode(), weight.ne[2]
        sums, count = self.squares.setdefault(name, (np.zeros((n, weight.ne[0])), np.zeros(n, int)))
        if t.op == MUL_MAT_ID:
            ids = values(t.src[2].contents)[0]
            for token, row in enumerate(ids):
                for rank, e in enumerate(row):
                    sums[e] += x[token][rank % x.shape[1]].astype(float) ** 2
                    count[e] += 1
            return
        for i, rows in enumerate(x):
            sums[i % n] += (rows.astype(float) ** 2).sum(0)
            count[i % n] += len(rows)


def look(job):
    """Decodes `tokens` with and without a callback: what was seen, and both rows of logits."""
    path, tokens, names = job["model"], job["tokens"], job["names"]
    m = engine.Model(path)
    tokens = m.tokenize(tokens) if isinstance(tokens, str) else tokens
    watcher = Watcher(names)
    callback = CALLBACK(watcher)
    out = {"logits": {}}
    for watched in (False, True):
        eval_ = ctypes.cast(callback, ctypes.c_void_p) if watched else None
        params = {"n_ctx": 256}
        if watched:
            params["cb_eval"] = L.ggml_backend_sched_eval_callback(eval_.value)
        c = m.context(**params)
        assert c.decode(tokens, range(len(tokens))) == 0, engine.said()
        out["logits"][watched] = np.stack([c.logits(i) for i in range(len(tokens))])
        L.llama_free(c.p)
    return {**out, "seen": watcher.seen, "squares": watcher.squares, "asked": watcher.asked, "order": watcher.order}


def stop(job):
    """The code of a decode whose callback says no at the n-th value, and of the next one, whose callback says yes."""
    m = engine.Model(job["model"])
    tokens = m.tokenize("Once upon a time")
    state = {"left": job["after"], "inside": None}

    def f(t, ask, _):
        if ask:
            return True
        state["left"] -= 1
        if state["inside"] is None:
            state["inside"] = L.llama_decode(c.p, engine.batch(tokens, range(len(tokens)), [0] * len(tokens), [1] * len(tokens)))
        return state["left"] != 0

    callback = CALLBACK(f)
    c = m.context(n_ctx=256, cb_eval=L.ggml_backend_sched_eval_callback(ctypes.cast(callback, ctypes.c_void_p).value))
    codes = [c.decode(tokens, range(len(tokens))) for _ in range(2)]
    return {"codes": codes, "inside": state["inside"]}
