"""Logits of a decoder along given tokens, in chunks. Runs in the processes that sides.run starts."""
import numpy as np
import engine


def logits(job):
    """The last token's logits of every chunk."""
    m = engine.Model(job["model"])
    c = m.context(n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=32, swa_full=False)
    rows, tokens, step = [], job["tokens"], job["chunk"]
    for at in range(0, len(tokens), step):
        part = tokens[at:at + step]
        assert c.decode(part, list(range(at, at + len(part)))) == 0, engine.said()
        rows.append(c.logits(len(part) - 1))
    c.free()
    return np.array(rows)
