"""Vocabularies on the library of the process: every getter, and tokens of texts. See test_vocabs.py."""
import ctypes, os, zlib
import llama_cpp.llama_cpp as L
import engine

ROLES = "bos eos eot sep nl pad mask fim_pre fim_suf fim_mid fim_pad fim_rep fim_sep".split()


def load(path):
    params = L.llama_model_default_params()
    params.vocab_only, params.n_gpu_layers = True, 0
    return L.llama_model_load_from_file(os.fsencode(path), params)


def tokens_of(v, text, special, parse):
    out = (L.llama_token * (len(text) + 8))()
    n = L.llama_tokenize(v, text, len(text), out, len(out), special, parse)
    if n < 0:
        out = (L.llama_token * -n)()
        n = L.llama_tokenize(v, text, len(text), out, len(out), special, parse)
    return list(out[:max(n, 0)])


def buffered(f, size=256):
    buf = ctypes.create_string_buffer(size)
    n = f(buf, size)
    if n < 0:
        buf = ctypes.create_string_buffer(-n)
        n = f(buf, -n)
    return buf.raw[:max(n, 0)]


def getters(v):
    n = L.llama_vocab_n_tokens(v)
    some = range(0, n, max(1, n // 10000))
    piece = lambda t, special: buffered(lambda b, size: L.llama_token_to_piece(v, t, b, size, 0, special))
    each = [(L.llama_vocab_get_text(v, t), L.llama_vocab_get_score(v, t), L.llama_vocab_get_attr(v, t), piece(t, True), piece(t, False)) for t in some]
    return {
        "type": L.llama_vocab_type(v), "n_tokens": n,
        "roles": {r: getattr(L, f"llama_vocab_{r}")(v) for r in ROLES},
        "adds": [bool(getattr(L, f"llama_vocab_get_add_{r}")(v)) for r in ("bos", "eos", "sep")],
        "eog": [t for t in range(n - n // 20 if n > 20000 else 0, n) if L.llama_vocab_is_eog(v, t)],
        "control": zlib.crc32(bytes(L.llama_vocab_is_control(v, t) for t in some)),
        "tokens": [zlib.crc32(repr(each[i:i + 64]).encode()) for i in range(0, len(each), 64)],
    }


def all_of(job):
    """Per file: None where it does not load; else its getters and, per text, its tokens and what they say."""
    out = []
    for path in job["files"]:
        model = load(path)
        if not model:
            out.append(None)
            continue
        v, texts = L.llama_model_get_vocab(model), []
        for i, text in enumerate(job["texts"]):
            ids = tokens_of(v, text, bool(i & 1), bool(i & 2))
            array = (L.llama_token * (len(ids) + 1))(*ids)
            texts.append((ids, buffered(lambda b, size: L.llama_detokenize(v, array, len(ids), b, size, bool(i & 1), bool(i & 4)), 8192)))
        out.append({"texts": texts, **({} if job.get("texts_only") else getters(v))})
        L.llama_model_free(model)
    return out
