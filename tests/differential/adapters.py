"""Adapters: files of them, written from a model's own tensors, and what a library makes of them. What is below the line runs in the processes that
sides.run starts."""
import re, shutil
import numpy as np
import gguf

TYPES = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
TABLE = "token_embd.weight"
# Vectors, tables that are no matrices of a product, and what the original multiplies by other means.
LEFT = re.compile(r"norm|_embd\b|token_types|rope|bias$|scale$|sinks|hc_|rel_b|exp_probs_b|altup_correct_scale")


class Base:
    """Names and shapes of a model's tensors."""

    def __init__(self, path):
        r = gguf.GGUFReader(path)
        self.arch = r.fields["general.architecture"].contents()
        self.shapes = {t.name: [int(n) for n in t.shape] for t in r.tensors}

    def matrices(self, pattern=""):
        """Those that products are made with."""
        return [n for n, s in self.shapes.items() if len(s) > 1 and n != TABLE and not LEFT.search(n) and re.search(pattern, n)]


def low_rank(rng, shape, rank, strength, table=False):
    """(a, b) as NumPy has them, rows last: what they add is about `strength` of what a trained matrix gives."""
    k, rows, stack = shape[0], shape[1], shape[2:]
    if table:
        a, b = rng.normal(size=(rows, rank)), rng.normal(size=(k, rank))
    else:
        a, b = rng.normal(size=(*stack, rank, k)) / np.sqrt(k), rng.normal(size=(*stack, rows, rank))
    return a.astype(np.float32), (b * strength / np.sqrt(rank)).astype(np.float32)


def write(path, arch, pairs, alpha=None, kind="f32", keys=(), meta=(("general.type", "adapter"), ("adapter.type", "lora"))):
    """pairs: name -> (a, b), either of which may be None; keys: functions of the writer."""
    w = gguf.GGUFWriter(path, arch)
    for k, v in meta:
        w.add_string(k, v)
    if alpha is not None:
        w.add_float32("adapter.lora.alpha", alpha)
    for key in keys:
        key(w)
    for name, halves in pairs.items():
        for suffix, x in zip((".lora_a", ".lora_b"), halves):
            if x is not None:
                add(w, name + suffix, x, TYPES[kind])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def add(w, name, x, kind):
    """As f16 where the rows are no whole blocks."""
    quantized = kind not in (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)
    if quantized and x.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = gguf.GGMLQuantizationType.F16
    w.add_tensor(name, gguf.quants.quantize(x, kind), raw_dtype=kind)


def random(path, base, names, rank=8, strength=0.3, seed=1, **more):
    return write(path, base.arch, random_pairs(base, names, rank, strength, seed), **more)



def merge(base, path, pairs, scale):
    """A copy of an f32 model with the products in its weights."""
    shutil.copy(base, path)
    r = gguf.GGUFReader(path, "r+")
    for t in r.tensors:
        if t.name in pairs:
            a, b = pairs[t.name]
            t.data[:] += scale * (b @ a).reshape(t.data.shape)
    r.data.flush()


def random_pairs(base, names, rank=8, strength=0.3, seed=1):
    rng = np.random.default_rng(seed)
    return {n: low_rank(rng, base.shapes[n], rank, strength, n == TABLE) for n in names}


# ---- in a library's process

def many(jobs):
    return [attempt(j) for j in jobs]


def attempt(job):
    try:
        return logits(job)
    except (RuntimeError, AssertionError) as e:
        return str(e)



def logits(job):
    """Each run's logits [n_tokens, n_vocab], or a text. job: model, adapters (files), runs: [{loras: [(number, scale)], cvec, tokens, chunk, keep}]."""
    import ctypes
    import engine
    L = engine.L
    m = engine.Model(job["model"])
    loaded = [L.llama_adapter_lora_init(m.p, f.encode()) for f in job["adapters"]]
    if not all(loaded):
        return engine.said()
    c = m.context(n_ctx=512, n_batch=512, **job.get("params", {}))
    out, at = [], 0
    for r in job["runs"]:
        some = r.get("loras", [])
        handles = (L.llama_adapter_lora_p_ctypes * len(some))(*[loaded[i] for i, _ in some])
        scales = (ctypes.c_float * len(some))(*[s for _, s in some])
        assert L.llama_set_adapters_lora(c.p, handles, len(some), scales) == 0, engine.said()
        if "cvec" in r:
            steer(c, r["cvec"])
        if not r.get("keep"):
            c.clear()
            at = 0
        out.append(c.feed(r["tokens"], at, r.get("chunk", 512)))
        at += len(r["tokens"])
    c.free()
    return out


def steer(c, cvec):
    """cvec: (rows [n, n_embd] or None, first layer, last layer)."""
    import ctypes
    import engine
    rows, first, last = cvec
    if rows is None:
        return engine.L.llama_set_adapter_cvec(c.p, None, 0, 0, first, last)
    data = np.ascontiguousarray(rows, np.float32)
    p = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    rc = engine.L.llama_set_adapter_cvec(c.p, p, data.size, data.shape[-1], first, last)
    assert rc == 0, engine.said()
    return rc
