"""Models from key/values and a callback (`llama_model_init_from_user`), with the original's libggml as the program's own on both sides. Runs in the
processes that sides.run starts."""
import ctypes, os
import numpy as np
import llama_cpp.llama_cpp as L
import engine, sides
from watching import Tensor

GGML = ctypes.CDLL(os.path.join(sides.ORIGINAL, "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.POINTER(Tensor), ctypes.c_void_p)


class Params(ctypes.Structure):
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


def declare(name, result, *args):
    f = getattr(GGML, name)
    f.restype, f.argtypes = result, list(args)
    return f


init = declare("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, Params)
nbytes = declare("ggml_nbytes", ctypes.c_size_t, ctypes.POINTER(Tensor))
tensor_set = declare("ggml_backend_tensor_set", None, ctypes.POINTER(Tensor), ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
remove = declare("gguf_remove_key", ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p)
empty = declare("gguf_init_empty", ctypes.c_void_p)
copy_keys = declare("gguf_set_kv", None, ctypes.c_void_p, ctypes.c_void_p)


def contents(path):
    """Tensors of a file by name."""
    import gguf
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def value(data, name, n):
    """What a tensor of `n` bytes is to be. What the file lacks does nothing: zeros are added, ones multiply; its head is the embeddings."""
    import gguf
    if name in data and data[name].n_bytes == n:
        return data[name].data.tobytes()
    if name == "output.weight" or name in data:
        t = data.get(name, data["token_embd.weight"])
        return gguf.dequantize(t.data, t.tensor_type).astype(np.float32).tobytes()
    return (np.zeros if name.endswith(".bias") else np.ones)(n // 4, np.float32).tobytes()


def make(job):
    """What the callback was asked for, and the logits of the model that it made and of the file that it was made from. `keys_only`: the metadata
    names no tensors, so all of them are F32."""
    data, asked = contents(job["model"]), []
    meta = init(os.fsencode(job["model"]), Params(True, None))
    assert meta
    if job.get("keys_only"):
        whole, meta = meta, empty()
        copy_keys(meta, whole)

    def fill(t, _):
        name, n = t.contents.name.decode(), nbytes(t)
        asked.append((name, list(t.contents.ne), t.contents.type))
        v = value(data, name, n)
        assert len(v) == n, (name, len(v), n)
        tensor_set(t, v, 0, n)

    callback = CALLBACK(fill)
    f = L._lib.llama_model_init_from_user
    f.restype, f.argtypes = ctypes.c_void_p, [ctypes.c_void_p, CALLBACK, ctypes.c_void_p, L.llama_model_params]
    params = L.llama_model_default_params()
    params.n_gpu_layers = 0
    made = engine.Model.__new__(engine.Model)
    made.p = f(meta, callback, None, params)
    if not made.p:
        raise RuntimeError(engine.said())
    made.vocab = L.llama_model_get_vocab(made.p)
    made.n_vocab = L.llama_vocab_n_tokens(made.vocab)
    out = {"asked": asked, "logits": []}
    for m in (made, engine.Model(job["model"])):
        tokens = m.tokenize(job["text"]) if "text" in job else job["tokens"]
        c = m.context(n_ctx=256)
        assert c.decode(tokens, range(len(tokens))) == 0, engine.said()
        out["logits"].append(np.stack([c.logits(i) for i in range(len(tokens))]))
    return out


def refused(job):
    """Whether wrong calls give NULL."""
    f = L._lib.llama_model_init_from_user
    f.restype, f.argtypes = ctypes.c_void_p, [ctypes.c_void_p, CALLBACK, ctypes.c_void_p, L.llama_model_params]
    params, nobody = L.llama_model_default_params(), CALLBACK(lambda t, _: None)
    meta = init(os.fsencode(job["model"]), Params(True, None))
    gone = init(os.fsencode(job["model"]), Params(True, None))
    remove(gone, b"llama.block_count")
    return [f(None, nobody, None, params), f(meta, CALLBACK(), None, params), f(gone, nobody, None, params)]
