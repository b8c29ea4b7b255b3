"""Chains of samplers on the library of the process: what is left of seeded logits, and what is drawn. See test_samplers.py."""
import ctypes, zlib
import numpy as np
import llama_cpp.llama_cpp as L
from grammars import TOKEN, Vocab

MAKE = {
    "dist": lambda v, *a: L.llama_sampler_init_dist(*a),
    "greedy": lambda v, *a: L.llama_sampler_init_greedy(),
    "top_k": lambda v, *a: L.llama_sampler_init_top_k(*a),
    "top_p": lambda v, *a: L.llama_sampler_init_top_p(*a),
    "min_p": lambda v, *a: L.llama_sampler_init_min_p(*a),
    "typical": lambda v, *a: L.llama_sampler_init_typical(*a),
    "temp": lambda v, *a: L.llama_sampler_init_temp(*a),
    "temp_ext": lambda v, *a: L.llama_sampler_init_temp_ext(*a),
    "xtc": lambda v, *a: L.llama_sampler_init_xtc(*a),
    "top_n_sigma": lambda v, *a: L.llama_sampler_init_top_n_sigma(*a),
    "mirostat": lambda v, *a: L.llama_sampler_init_mirostat(v.n, *a),
    "mirostat_v2": lambda v, *a: L.llama_sampler_init_mirostat_v2(*a),
    "adaptive_p": lambda v, *a: L.llama_sampler_init_adaptive_p(*a),
    "infill": lambda v, *a: L.llama_sampler_init_infill(v.p),
    "grammar": lambda v, text: L.llama_sampler_init_grammar(v.p, text, b"root"),
    "logit_bias": lambda v, *a: L.llama_sampler_init_logit_bias(v.n, len(a), (L.llama_logit_bias * len(a))(*a)),
    "dry": lambda v, strings, *a: L.llama_sampler_init_dry(v.p, *a, (ctypes.c_char_p * len(strings))(*strings), len(strings)),
}


def penalties(v, *a):
    """llama.h has lost or gained the size of the vocabulary from version to version; the bindings know which they were made for."""
    return L.llama_sampler_init_penalties(*((v.n,) * (len(L.llama_sampler_init_penalties.argtypes) - 4)), *a)


def logits(kind, seed, n):
    x = np.random.RandomState(seed).rand(n).astype(np.float32)
    return {"wide": lambda: (x - .5) * 24, "flat": lambda: (x - .5) * .5, "ties": lambda: np.floor(x * 41 - 20) * .5,
            "peak": lambda: 28 * x ** 40 - 12}[kind]().astype(np.float32)


def run(v, case):
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    for name, *a in case["chain"]:
        L.llama_sampler_chain_add(chain, penalties(v, *a) if name == "penalties" else MAKE[name](v, *a))
    seen = np.array(case["tokens"], np.int32) if "tokens" in case else None
    out = [L.llama_sampler_get_seed(chain)]
    for step in range(case["steps"]):
        data = np.zeros(v.n if seen is None else len(seen), TOKEN)
        data["id"] = np.arange(v.n) if seen is None else seen
        data["logit"] = logits(case["kind"], case["seed"] * 100 + step % 7, len(data))
        array = L.llama_token_data_array(data.ctypes.data_as(L.llama_token_data_p), len(data), -1, False)
        L.llama_sampler_apply(chain, ctypes.byref(array))
        # A sampler may move the start of the list.
        at = (ctypes.addressof(array.data.contents) - data.ctypes.data) // TOKEN.itemsize if array.size else 0
        left = data[at:at + array.size]
        token = int(left["id"][array.selected]) if 0 <= array.selected < len(left) else int(left["id"][0]) if len(left) else -1
        out.append((len(left), array.selected, token, zlib.crc32(left.tobytes())))
        L.llama_sampler_accept(chain, token)
        if step == case["steps"] // 2 and case["clone"]:
            chain, old = L.llama_sampler_clone(chain), chain
            L.llama_sampler_free(old)
        if step == case["steps"] - 3:
            L.llama_sampler_reset(chain)
    L.llama_sampler_free(chain)
    return out


def runs(job):
    v = Vocab(job["model"])
    return [run(v, case) for case in job["cases"]]
