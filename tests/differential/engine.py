"""A small face of the C API for tests, through the unmodified bindings. Runs in the processes that sides.run starts."""
import ctypes, os
import numpy as np
import llama_cpp.llama_cpp as L

LOG = []


@L.llama_log_callback
def _log(level, text, _):
    LOG.append(text.decode("utf-8", "replace").rstrip())
    del LOG[:-40]


L.llama_log_set(_log, None)
L.llama_backend_init()
F32, F16, Q8_0 = 0, 1, 8


def said():
    return " | ".join(LOG[-6:])


class Model:
    def __init__(self, path):
        params = L.llama_model_default_params()
        params.n_gpu_layers = 0
        self.p = L.llama_model_load_from_file(os.fsencode(path), params)
        if not self.p:
            raise RuntimeError(f"{path} does not load: {said()}")
        self.vocab = L.llama_model_get_vocab(self.p)
        self.n_vocab = L.llama_vocab_n_tokens(self.vocab)

    def tokenize(self, text, special=True):
        text = text.encode()
        out = (L.llama_token * (len(text) + 8))()
        n = L.llama_tokenize(self.vocab, text, len(text), out, len(out), True, special)
        assert n >= 0, n
        return list(out[:n])

    def piece(self, token):
        buf = ctypes.create_string_buffer(256)
        n = L.llama_token_to_piece(self.vocab, token, buf, 256, 0, False)
        return buf.raw[:max(0, n)]

    def ends(self, token):
        return L.llama_vocab_is_eog(self.vocab, token)

    def context(self, **params):
        return Context(self, params)


class Context:
    """params: fields of llama_context_params; `kv` sets both cache types, one thread unless given."""

    def __init__(self, model, params):
        p = L.llama_context_default_params()
        p.n_threads = p.n_threads_batch = 1
        kv = params.pop("kv", None)
        if kv is not None:
            p.type_k = p.type_v = kv
        for k, v in params.items():
            setattr(p, k, v)
        self.model = model
        self.p = L.llama_init_from_model(model.p, p)
        if not self.p:
            raise RuntimeError(f"no context with {params}: {said()}")
        self.memory = L.llama_get_memory(self.p)

    def decode(self, tokens, pos, seqs=None, outputs=None):
        """Return code. seqs: a sequence id per token (0 for all); outputs: a flag per token (all)."""
        return L.llama_decode(self.p, batch(tokens, pos, seqs or [0] * len(tokens), outputs or [1] * len(tokens)))

    def logits(self, i):
        p = L.llama_get_logits_ith(self.p, i)
        if not p:
            raise RuntimeError(f"no logits at {i}: {said()}")
        return np.ctypeslib.as_array(p, (self.model.n_vocab,)).copy()

    def feed(self, tokens, pos, chunk, seq=0):
        """Logits of all tokens, decoded in batches of `chunk`. [n, n_vocab]"""
        rows = []
        for i in range(0, len(tokens), chunk):
            part = tokens[i:i + chunk]
            rc = self.decode(part, range(pos + i, pos + i + len(part)), [seq] * len(part))
            if rc != 0:
                raise RuntimeError(f"decode gives {rc} at {pos + i}: {said()}")
            rows += [self.logits(j) for j in range(len(part))]
        return np.array(rows, np.float32)

    def clear(self):
        L.llama_memory_clear(self.memory, True)

    def free(self):
        L.llama_free(self.p)


def batch(tokens, pos, seqs, outputs):
    """A llama_batch over arrays that it keeps alive. tokens, pos, seqs, outputs: lists, or None for a NULL pointer."""
    n = len(tokens)
    b = L.llama_batch()
    b.n_tokens = n
    lists = [s if isinstance(s, (list, tuple)) else [s] for s in seqs] if seqs is not None else []
    ids = [(L.llama_seq_id * max(1, len(s)))(*s) for s in lists]
    b.keep = keep = [ids, (L.llama_token * n)(*[int(t) for t in tokens])]
    b.token = keep[1]
    if pos is not None:
        keep.append((L.llama_pos * n)(*pos))
        b.pos = keep[-1]
    if seqs is not None:
        keep.append((ctypes.c_int32 * n)(*[len(s) for s in lists]))
        b.n_seq_id = keep[-1]
        pointer = ctypes.POINTER(L.llama_seq_id)
        keep.append((pointer * (n + 1))(*[ctypes.cast(a, pointer) for a in ids]))
        b.seq_id = keep[-1]
    if outputs is not None:
        keep.append((ctypes.c_int8 * n)(*outputs))
        b.logits = keep[-1]
    return b
