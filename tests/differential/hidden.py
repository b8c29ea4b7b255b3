"""Hidden states by the C++ names of llama-ext.h. Runs in the processes that sides.run starts."""
import ctypes
import numpy as np
import engine
from engine import L

P, F = ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)
NAMES = {"set_layer": ("_Z30llama_set_embeddings_layer_inpP13llama_contextjb", [P, ctypes.c_uint32, ctypes.c_bool], None),
         "layer": ("_Z30llama_get_embeddings_layer_inpP13llama_contextj", [P, ctypes.c_uint32], F),
         "set_next": ("_Z26llama_set_embeddings_nextnP13llama_contextbb", [P, ctypes.c_bool, ctypes.c_bool], None),
         "next": ("_Z26llama_get_embeddings_nextnP13llama_context", [P], F),
         "next_ith": ("_Z30llama_get_embeddings_nextn_ithP13llama_contexti", [P, ctypes.c_int32], F),
         "other": ("_Z19llama_get_ctx_otherP13llama_context", [P], P),
         "layer_ids": ("_Z28llama_model_target_layer_idsPK11llama_model", [P], P),
         "n_layer_ids": ("_Z30llama_model_target_layer_ids_nPK11llama_model", [P], ctypes.c_uint32),
         "table": ("_Z24llama_model_get_tok_embdPK11llama_modelPf", [P, F], ctypes.c_uint32)}


def function(name):
    symbol, args, result = NAMES[name]
    f = getattr(L._lib, symbol)
    f.argtypes, f.restype = args, result
    return f


def copy(p, *shape):
    return np.ctypeslib.as_array(p, shape).copy() if p else None


def table(model, n_embd):
    n = function("table")(model.p, None)
    out = np.zeros(n, np.float32)
    assert function("table")(model.p, out.ctypes.data_as(F)) == n
    return out.reshape(-1, n_embd)


def states(job):
    """Two batches (two sequences, some outputs), cut into ubatches of 8, with every layer's input and next states of both kinds."""
    model = engine.Model(job["model"])
    n_embd, n_layer, out = L.llama_model_n_embd(model.p), L.llama_model_n_layer(model.p), []
    t, n = job["tokens"], len(job["tokens"]) // 2
    for masked in (False, True):
        c = model.context(n_ctx=512, n_ubatch=8, n_seq_max=2, kv_unified=True)
        for il in range(n_layer if job["layers"] else 0):
            function("set_layer")(c.p, il, True)
        if job["next"]:
            function("set_next")(c.p, True, masked)
        for part, at in ((t[:n], 0), (t[n:], n // 2)):
            seqs, pos = [i % 2 for i in range(len(part))], [at + i // 2 for i in range(len(part))]
            wanted = [i % 3 == 1 for i in range(len(part))]
            assert c.decode(part, pos, seqs, wanted) == 0, engine.said()
            got = {"logits": [c.logits(i) for i, w in enumerate(wanted) if w]}
            if job["layers"]:
                got["layers"] = [copy(function("layer")(c.p, il), len(part), n_embd) for il in range(n_layer)]
            if job["next"]:
                rows = sum(wanted) if masked else len(part)
                got["next"] = copy(function("next")(c.p), rows, n_embd)
                got["ith"] = [copy(function("next_ith")(c.p, i), n_embd) for i, w in enumerate(wanted) if w or not masked]
            out.append(got)
        out.append([bool(function("other")(c.p)), bool(function("layer_ids")(model.p)), function("n_layer_ids")(model.p)])
        c.free()
    return out + [table(model, n_embd)]


def each(jobs):
    return [states(j) for j in jobs]


def own(job):
    """Ours alone: what goes in and out of layers beside what the context says without being asked for them."""
    model = engine.Model(job["model"])
    n_embd, n_layer, t = L.llama_model_n_embd(model.p), L.llama_model_n_layer(model.p), job["tokens"]
    plain, c = model.context(n_ctx=256, embeddings=True), model.context(n_ctx=256)
    rows = plain.feed(t, 0, len(t))
    normed = np.array([copy(L.llama_get_embeddings_ith(plain.p, i), n_embd) for i in range(len(t))])
    function("set_next")(c.p, True, False)
    [function("set_layer")(c.p, il, True) for il in (0, n_layer)]
    same = c.feed(t, 0, len(t))
    got = {"logits": np.array_equal(rows, same), "next": np.array_equal(copy(function("next")(c.p), len(t), n_embd), normed),
           "last": copy(function("layer")(c.p, n_layer), len(t), n_embd), "first": copy(function("layer")(c.p, 0), len(t), n_embd)}
    function("set_layer")(c.p, n_layer, False)
    function("set_layer")(c.p, n_layer + 1, True)
    function("set_next")(c.p, False, False)
    c.clear()
    got["again"] = np.array_equal(rows, c.feed(t, 0, len(t)))
    got["gone"] = [bool(p) for p in (function("layer")(c.p, n_layer), function("layer")(c.p, n_layer + 1), function("next")(c.p), function("next_ith")(c.p, 0))]
    got["out of range"] = [bool(function("next_ith")(c.p, i)) for i in (-1, 10**9, -10**9)]
    return got


def tables(job):
    model = engine.Model(job["model"])
    return table(model, L.llama_model_n_embd(model.p))
