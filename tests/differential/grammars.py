"""Walks through grammars, on the library of the process: what each step allows, and a seeded choice among it. See test_grammars.py."""
import ctypes, functools, os, random, zlib
import numpy as np
import llama_cpp.llama_cpp as L
import engine

TOKEN = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Vocab:
    def __init__(self, path):
        params = L.llama_model_default_params()
        params.vocab_only, params.n_gpu_layers = True, 0
        self.model = L.llama_model_load_from_file(os.fsencode(path), params)
        if not self.model:
            raise RuntimeError(f"{path} does not load: {engine.said()}")
        self.p = L.llama_model_get_vocab(self.model)
        self.n = L.llama_vocab_n_tokens(self.p)

    def tokens(self, text):
        out = (L.llama_token * (len(text) + 8))()
        n = L.llama_tokenize(self.p, text, len(text), out, len(out), False, True)
        return list(out[:n])

    def short(self, tokens):
        """Those of one character. A grammar that names tokens allows some in the middle of whose text one is named, and the original
        ends the process when it is given such a one."""
        return [t for t in tokens if self.piece(t) and len(self.piece(t).decode("utf-8", "replace")) == 1]

    @functools.cache
    def piece(self, token):
        buf = ctypes.create_string_buffer(256)
        return buf.raw[:max(0, L.llama_token_to_piece(self.p, int(token), buf, 256, 0, True))]

    def ends(self, token):
        return L.llama_vocab_is_eog(self.p, token)


def make(vocab, case):
    """The sampler of a case, or None where the grammar is refused."""
    strings = lambda key: (ctypes.c_char_p * max(1, len(case.get(key, []))))(*case.get(key, []))
    tokens = case.get("tokens", [])
    of = (vocab.p, case["grammar"], case.get("root", b"root"))
    numbers = ((L.llama_token * max(1, len(tokens)))(*tokens), len(tokens))
    if "patterns" in case or tokens:
        return L.llama_sampler_init_grammar_lazy_patterns(*of, strings("patterns"), len(case.get("patterns", [])), *numbers)
    if "words" in case:
        return L._llama_sampler_init_grammar_lazy(*of, strings("words"), len(case["words"]), *numbers)
    return L.llama_sampler_init_grammar(*of)


def apply(sampler, ids):
    """Which of the candidates are left."""
    data = np.zeros(len(ids), TOKEN)
    data["id"] = ids
    array = L.llama_token_data_array(data.ctypes.data_as(L.llama_token_data_p), len(ids), -1, False)
    L.llama_sampler_apply(sampler, ctypes.byref(array))
    return data["logit"] == 0


def walk(vocab, case):
    """Per step: how many tokens are allowed, which (a checksum), the token taken; None for a grammar that is refused."""
    s = make(vocab, case)
    if not s:
        return None
    r, out, said = random.Random(case["seed"]), [], case.get("says", b"")
    script = vocab.tokens(said) if said else []
    everything = np.arange(vocab.n, dtype=np.int32)
    for step in range(case["steps"]):
        some = np.array(r.sample(range(vocab.n), 20), np.int32)
        few = apply(s, some).tobytes()
        mask = apply(s, everything)
        allowed = np.flatnonzero(mask)
        token = script[step] if step < len(script) else choose(r, vocab, allowed if b"<[" not in case["grammar"] else vocab.short(allowed))
        out.append((len(allowed), zlib.crc32(np.packbits(mask).tobytes()), few, token))
        if token is None or vocab.ends(token):
            break
        L.llama_sampler_accept(s, token)
        if step == 3:
            s, old = L.llama_sampler_clone(s), s
            L.llama_sampler_free(old)
    L.llama_sampler_reset(s)
    out.append(zlib.crc32(np.packbits(apply(s, everything)).tobytes()))
    L.llama_sampler_free(s)
    return out


def choose(r, vocab, allowed):
    """Mostly no end of the text while something else is allowed."""
    if len(allowed) == 0:
        return None
    for _ in range(8):
        token = int(allowed[r.randrange(len(allowed))])
        if not vocab.ends(token):
            break
    return token


def walks(job):
    vocab = Vocab(job["model"])
    return [walk(vocab, case) for case in job["cases"]]
