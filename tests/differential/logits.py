"""Logits of one side on given text: what the tests of noise and divergence are made from. Runs in sides.run's processes."""
import numpy as np
import engine


def of_text(job):
    """Logits of every token of each text, each from an empty memory, decoded `chunk` tokens at once. [n, n_vocab] per text"""
    model = engine.Model(job["model"])
    ctx = model.context(n_ctx=job["n_ctx"], n_batch=512, **job.get("params", {}))
    out = []
    for text in job["texts"]:
        ctx.clear()
        out.append(ctx.feed(model.tokenize(text)[:job["n_ctx"]], 0, job.get("chunk", 512)))
    return out


def greedy(job):
    """Per prompt the tokens that follow it by arg max, their text, its length before each, and the logits of each step.
    `follow`: per prompt, take these tokens instead."""
    model = engine.Model(job["model"])
    out = []
    for k, (prompt, n) in enumerate(job["prompts"]):
        tokens = model.tokenize(prompt)
        ctx = model.context(n_ctx=len(tokens) + n, n_batch=len(tokens))
        follow = job["follow"][k] if "follow" in job else None
        rows, chosen, pos = [ctx.feed(tokens, 0, len(tokens))[-1]], [], len(tokens)
        while len(chosen) < n:
            chosen.append(int(rows[-1].argmax()) if follow is None else follow[len(chosen)])
            if model.ends(chosen[-1]) or len(chosen) == n:
                break
            rows.append(ctx.feed([chosen[-1]], pos, 1)[0])
            pos += 1
        ctx.free()
        pieces = [model.piece(t) for t in chosen if not model.ends(t)]
        text = [b"".join(pieces[:i]).decode("utf-8", "replace") for i in range(len(pieces) + 1)]
        out.append({"tokens": chosen, "logits": np.array(rows), "text": text[-1], "upto": [len(t) for t in text]})
    return out


def tokens(job):
    model = engine.Model(job["model"])
    return [model.tokenize(text) for text in job["texts"]]


def quantize(job):
    """Writes `to` from `from` in the llama_ftype `ftype`; llama_model_quantize's return code."""
    import ctypes, os
    import llama_cpp.llama_cpp as L
    p = L.llama_model_quantize_default_params()
    p.ftype, p.nthread, p.allow_requantize = job["ftype"], 2, True
    return L.llama_model_quantize(os.fsencode(job["from"]), os.fsencode(job["to"]), ctypes.byref(p))
