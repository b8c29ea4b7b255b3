"""Programs without the original's libggml: the same checks once more, with our libggml.so.0 in its place.

It has no graphs, so those that compute with ggml themselves are not here (GRAPHS). llama-server loads libmtmd, which does; without images
nothing of that is called.
"""
import os, re

import bindings, programs, server, theirs
from sides import SIDES, Failed, folder, our_ggml, run

GRAPHS = ("llama-export-lora", "llama-cvector-generator, control vectors")
# What samples with seeds of its own, or is the same program another time.
ELSEWHERE = ("llama-simple-chat", "llama-completion, LoRA")


def with_ours(check):
    def run():
        with our_ggml():
            return check()
    return run


def gguf():
    """It writes a file and reads it, and knows no libllama."""
    with folder() as d:
        said = []
        for side in SIDES:
            file = os.path.join(d, side)
            texts = [run(side, "llama-gguf", file, what).ok().out.replace(file, "") for what in ("w", "r")]
            said.append(([re.sub(r"0x[0-9a-f]+|data\[:10\].*", "", t) for t in texts], open(file, "rb").read()))
    if said[0] != said[1]:
        raise Failed("another file, or other words about it")
    return f"the same file of {len(said[0][1])} bytes, the same {len(said[0][0][1].split())} words about it"


CHECKS = {"llama-gguf": gguf}
CHECKS |= {n: c for n, c in programs.ALL.items() if n not in GRAPHS + ELSEWHERE}
CHECKS |= {n: server.ALL[n] for n in ("llama-server: completion", "llama-server: parallel slots", "llama-server: slots saved and restored")}
CHECKS |= {n: theirs.ALL[n] for n in ("test-sampling", "test-thread-safety", "test-save-load-state")}
CHECKS |= bindings.ALL

ALL = {f"{n}, our libggml": with_ours(c) for n, c in CHECKS.items()}
