"""Programs without the original's libggml: the same checks once more, with our libggml.so.0 in its place.

It has no graphs, so those that compute with ggml themselves are not here (GRAPHS). llama-server loads libmtmd, which does; without images
nothing of that is called.
"""
import bindings, programs, server, theirs
from sides import our_ggml

GRAPHS = ("llama-export-lora", "llama-cvector-generator, control vectors")
# What samples with seeds of its own, or is the same program another time.
ELSEWHERE = ("llama-simple-chat", "llama-completion, LoRA")


def with_ours(check):
    def run():
        with our_ggml():
            return check()
    return run


CHECKS = {n: c for n, c in programs.ALL.items() if n not in GRAPHS + ELSEWHERE}
CHECKS |= {n: server.ALL[n] for n in ("llama-server: completion", "llama-server: parallel slots", "llama-server: slots saved and restored")}
CHECKS |= {n: theirs.ALL[n] for n in ("test-sampling", "test-thread-safety", "test-save-load-state")}
CHECKS |= bindings.ALL

ALL = {f"{n}, our libggml": with_ours(c) for n, c in CHECKS.items()}
