"""What a decoder with an index says along given tokens. Runs in the processes that sides.run starts."""
import engine


def logits(job):
    """Of all tokens, in chunks."""
    m = engine.Model(job["model"])
    c = m.context(n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=32, swa_full=False)
    rows = c.feed(job["tokens"], 0, job["chunk"])
    c.free()
    return rows
