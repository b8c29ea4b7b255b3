#!/usr/bin/env python3
"""What a context's KV memory costs, our library and the original in processes of their own: bytes resident after each step, page faults, times.

    build/tools/venv/bin/python benches/kv.py [--n-ctx 131072] [--used 16384] [--chat 4096] [--rounds 100] [--side ours|original]

Steps: a context is made; one sequence is decoded to --used tokens; nine tenths of it are removed (and a second waited); everything is cleared
(likewise). Then a chat: --rounds times, clear and decode --chat tokens again. KV bytes are the growth of the process's anonymous memory since
before the context; activations are in it. Needs `make tools` and a release build in build/ (CAMELID_TEST_LIB and CAMELID_TEST_TOOLS: elsewhere).
"""
import argparse, json, os, pathlib, resource, subprocess, sys, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("CAMELID_TEST_TOOLS") or ROOT / "build" / "tools")
SIDES = {"original": TOOLS / "original", "ours": pathlib.Path(os.environ.get("CAMELID_TEST_LIB") or ROOT / "build")}
MODEL = ROOT / "models" / "tinystories-llama-q8_0.gguf"
# Tokens of a story do not matter here; any that exist will do.
TOKEN = 300


def resident():
    """MiB of anonymous memory of this process."""
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def usage():
    return resource.getrusage(resource.RUSAGE_SELF)


def measure(a):
    import llama_cpp as L

    L.llama_log_set(quiet(L), None)
    L.llama_backend_init()
    model = L.llama_model_load_from_file(str(MODEL).encode(), L.llama_model_default_params())
    p = L.llama_context_default_params()
    p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = a.n_ctx, 512, 512, 2, 2
    p.flash_attn_type = 1
    row = {}
    empty, start = resident(), time.perf_counter()
    ctx = L.llama_init_from_model(model, p)
    row["creation_ms"] = (time.perf_counter() - start) * 1e3
    row["created_mib"] = resident() - empty
    memory = L.llama_get_memory(ctx)
    batch = L.llama_batch_init(512, 0, 1)

    def decode(n):
        for at in range(0, n, 512):
            batch.n_tokens = min(512, n - at)
            for i in range(batch.n_tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = TOKEN, at + i, 1, 0, 0
            assert L.llama_decode(ctx, batch) == 0

    decode(a.used)
    row["used_mib"] = resident() - empty
    L.llama_memory_seq_rm(memory, 0, a.used // 10, -1)
    time.sleep(1)
    row["removed_mib"] = resident() - empty
    L.llama_memory_clear(memory, True)
    time.sleep(1)
    row["cleared_mib"] = resident() - empty
    decode(a.chat)
    before, start = usage(), time.perf_counter()
    for _ in range(a.rounds):
        L.llama_memory_clear(memory, False)
        decode(a.chat)
    row["chat_s"] = time.perf_counter() - start
    after = usage()
    row["chat_system_ms_per_round"] = (after.ru_stime - before.ru_stime) / a.rounds * 1e3
    row["chat_faults_per_round"] = (after.ru_minflt - before.ru_minflt) / a.rounds
    return row


def quiet(L):
    global keep
    keep = L.llama_log_callback(lambda level, text, data: None)
    return keep


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--n-ctx", type=int, default=131072)
    ap.add_argument("--used", type=int, default=16384)
    ap.add_argument("--chat", type=int, default=4096)
    ap.add_argument("--rounds", type=int, default=100)
    ap.add_argument("--side", choices=SIDES)
    ap.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.here:
        print(json.dumps(measure(a)))
        return
    rows = {}
    for side in [a.side] if a.side else SIDES:
        lib = SIDES[side]
        env = dict(os.environ, LLAMA_CPP_LIB_PATH=str(lib), LD_LIBRARY_PATH=str(lib), CAMELID_LOG="error")
        out = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--here"], env=env, stdout=subprocess.PIPE, check=True).stdout
        rows[side] = json.loads(out.splitlines()[-1])
    print("| | " + " | ".join(rows) + " |\n|---|" + "---|" * len(rows))
    for key in next(iter(rows.values())):
        print(f"| {key} | " + " | ".join(f"{r[key]:.1f}" for r in rows.values()) + " |")


main()
