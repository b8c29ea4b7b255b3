#!/usr/bin/env python3
"""States: save and restore against the original, on one machine in one run.

    build/tools/venv/bin/python benches/state.py [--tokens 32768] [--pairs 3] [--layers 16] [--folder DIR] [--dry]     (make bench-state)

Each pair is one process with the original and one with ours, in turns ABBA. The model is made here: the KV shape of Llama 3.2 1B (16 layers, 8 heads
of 64, F16: 32 KiB a token) on thin matrices, because a state does not ask what computed it; its rows are random, put into the context by a state
that is made here too. "Runs of 1": every second cell of the destination is another sequence's. "Cold": the file's pages were dropped before.
Every restore is checked by saving it again. Adds a block to RESULTS.md, unless --dry. Cached pages are counted by cachestat (Linux 6.5).
"""
import argparse, ctypes, datetime, os, pathlib, random, statistics, struct, subprocess, sys, time
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "differential"))
HEADS, HEAD, F16 = 8, 64, 1


def make_model(path, layers):
    import gguf
    w = gguf.GGUFWriter(path, "llama")
    rng, width, kv = np.random.default_rng(1), 64, HEADS * HEAD
    w.add_block_count(layers), w.add_context_length(131072), w.add_embedding_length(width), w.add_feed_forward_length(width)
    w.add_head_count(HEADS), w.add_head_count_kv(HEADS), w.add_key_length(HEAD), w.add_value_length(HEAD), w.add_rope_dimension_count(HEAD)
    w.add_layer_norm_rms_eps(1e-5), w.add_vocab_size(64), w.add_tokenizer_model("none")

    def matrix(name, *shape):
        w.add_tensor(name, (rng.standard_normal(shape) * 0.1).astype(np.float32))
    matrix("token_embd.weight", 64, width), matrix("output.weight", 64, width)
    w.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for i in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(width, np.float32))
        for name, rows, k in (("attn_q", kv, width), ("attn_k", kv, width), ("attn_v", kv, width), ("attn_output", width, kv),
                              ("ffn_gate", width, width), ("ffn_up", width, width), ("ffn_down", width, width)):
            matrix(f"blk.{i}.{name}.weight", rows, k)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file()
    w.close()


# ---- one process

def state(n, layers, sequences=None):
    """The state of sequence 0 with `n` cells and random rows; `sequences`: of a whole context, its cells in turn of that many."""
    k, row = sequences or 1, HEADS * HEAD * 2
    cells = np.stack([np.arange(n) // k, np.ones(n, int), np.arange(n) % k], 1).astype("<i4").tobytes()
    head = struct.pack("<I5s", 5, b"llama") if sequences else struct.pack("<Ii", 0xaf143cd8, 0)
    out = bytearray(head + struct.pack("<II", 1, n) + cells + struct.pack("<II", 0, layers))
    rows = np.random.default_rng(n).standard_normal((n, HEADS * HEAD), np.float32).astype("<f2").tobytes()
    for i in range(2 * layers):
        turn = i * row
        out += struct.pack("<iQ", F16, row)
        out += rows[turn:]
        out += rows[:turn]
    return out


def cached(path, what=0):
    """Pages of a file that are cached (0), dirty (1), under way to the disk (2); and all of it."""
    fd = os.open(path, os.O_RDONLY)
    size = os.fstat(fd).st_size
    span, out = (ctypes.c_uint64 * 2)(0, size), (ctypes.c_uint64 * 5)()
    rc = ctypes.CDLL(None, use_errno=True).syscall(451, fd, span, out, 0)
    os.close(fd)
    return (out[what], -(-size // 4096)) if rc == 0 else (float("nan"), 1)


def settled(path):
    """Cached share in percent: at once, and the least within two seconds."""
    share = lambda: 100 * cached(path)[0] / cached(path)[1]
    first = least = share()
    for _ in range(20):
        if least > 0:
            time.sleep(0.1)
            least = min(least, share())
    return first, least


def timed(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def work(job):
    """{figure: seconds or a number}"""
    import engine
    L, n, layers = engine.L, job["tokens"], job["layers"]
    lines = []

    @L.llama_log_callback
    def log(level, text, _):
        lines.append(text.decode("utf-8", "replace"))
    L.llama_log_set(log, None)
    model = engine.Model(job["model"])
    new = lambda cells, seqs: model.context(n_ctx=cells, n_seq_max=seqs, kv_unified=True, n_threads=2, n_threads_batch=2, flash_attn_type=1)
    one = state(n, layers)
    pointer = lambda b: (ctypes.c_uint8 * len(b)).from_buffer(b)
    src, dst = pointer(one), pointer(bytearray(len(one)))
    out = {"bytes": len(one)}

    def put(c, seq):
        got = L.llama_state_seq_set_data(c.p, src, len(one), seq)
        assert got == len(one), (got, engine.said(), lines[-3:])

    def get(c, seq):
        assert L.llama_state_seq_get_data(c.p, dst, len(one), seq) == len(one)

    def check(c, seq):
        get(c, seq)
        assert bytes(dst)[24 + 12 * n:] == bytes(one)[24 + 12 * n:], "what was restored is not what was saved"

    def several(f, before=lambda: None):
        times = []
        for _ in range(job["reps"]):
            before()
            times.append(timed(f))
        return statistics.median(times)

    c = new(n, 1)
    out["restore, untouched memory"] = timed(lambda: put(c, 0))
    check(c, 0)
    out["restore over itself"] = several(lambda: put(c, 0))
    out["restore after clear"] = several(lambda: put(c, 0), c.clear)
    out["save"] = several(lambda: get(c, 0))
    path = os.path.join(job["folder"], f"state-{os.getpid()}")
    tokens, count = (L.llama_token * 1)(), ctypes.c_size_t()

    def save():
        assert L.llama_state_seq_save_file(c.p, path.encode(), 0, None, 0) > 0, lines[-3:]

    def load():
        assert L.llama_state_seq_load_file(c.p, path.encode(), 0, tokens, 1, ctypes.byref(count)) > 0, lines[-3:]

    def cold():
        c.clear()
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    try:
        out["save to a file"] = several(save)
        out["cached after save"], out["cached 2 s after save"] = settled(path)
        cold()
        assert not cached(path)[0] > 0, "the file is not cold"
        out["load a cold file"] = several(load, cold)
        out["cached after load"], out["cached 2 s after load"] = settled(path)
        check(c, 0)
    finally:
        os.path.exists(path) and os.unlink(path)
    c.free()
    c = new(2 * n, 2)
    both = state(2 * n, layers, 2)
    assert L.llama_state_set_data(c.p, pointer(both), len(both)) == len(both), lines[-3:]
    del both
    hole = lambda: L.llama_memory_seq_rm(c.memory, 1, -1, -1)
    lines.clear()
    out["restore into runs of 1"] = several(lambda: put(c, 1), hole)
    out["transfers"] = next((line.strip() for line in reversed(lines) if "transfers" in line), "")
    check(c, 1)
    out["save from runs of 1"] = several(lambda: get(c, 1))
    c.free()
    return out


# ---- all of them

SPEEDS = ["restore, untouched memory", "restore over itself", "restore after clear", "restore into runs of 1", "save", "save from runs of 1", "save to a file",
          "load a cold file"]
SHARES = ["cached after save", "cached 2 s after save", "cached after load", "cached 2 s after load"]


def interval(ratios, rounds=5000):
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(rounds))
    return medians[int(rounds * 0.025)], medians[int(rounds * 0.975)]


def raise_priority(nice):
    """For this process and those it starts. Linux weighs sessions before it weighs processes, so the session gets the priority too."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    group = pathlib.Path("/proc/self/autogroup")
    if group.exists():
        group.write_text(str(nice))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tokens", type=int, default=32768)
    p.add_argument("--layers", type=int, default=16)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--reps", type=int, default=3, help="in a process; the median counts")
    p.add_argument("--folder", default=str(ROOT / "build"), help="where files are written: a disk, not memory")
    p.add_argument("--nice", type=int, default=0, help="priority of the measured processes; below 0 only for root, on a machine that others use")
    p.add_argument("--dry", action="store_true", help="nothing in RESULTS.md")
    a = p.parse_args()
    import sides
    load = os.getloadavg()[0]
    if a.nice:
        raise_priority(a.nice)
    model = os.path.join(a.folder, f"bench-state-{a.layers}.gguf")
    if not os.path.exists(model):
        make_model(model + ".part", a.layers)
        os.rename(model + ".part", model)
    job = dict(tokens=a.tokens, layers=a.layers, reps=a.reps, folder=a.folder, model=model)
    run = lambda side: sides.run(side, "state:work", job, timeout=900, PYTHONPATH=str(ROOT / "benches"))
    pairs = []
    for i in range(a.pairs):
        order = ("original", "ours") if i % 2 == 0 else ("ours", "original")
        got = {side: run(side) for side in order}
        pairs.append((got["original"], got["ours"]))
        print(f"pair {i + 1} of {a.pairs}", flush=True)
    mb = pairs[0][0]["bytes"] / 1e6
    rows = list(figures(pairs, mb))
    print(f"{a.tokens} tokens, {mb:.0f} MB")
    for row in rows:
        print("  {:28}{:>10} /{:>10}   {}".format(*row))
    print("  " + pairs[0][1]["transfers"])
    if not a.dry:
        record(a, load, mb, rows, pairs[0][1]["transfers"])


def figures(pairs, mb):
    """(name, original, ours, ratio) as text."""
    for name in SPEEDS:
        theirs, ours = ([mb / q[i][name] for q in pairs] for i in (0, 1))
        ratios = [o / t for t, o in zip(theirs, ours)]
        x, y, r = (statistics.median(v) for v in (theirs, ours, ratios))
        yield name + ", MB/s", f"{x:.0f}", f"{y:.0f}", "{:.2f} ({:.2f} to {:.2f})".format(r, *interval(ratios))
    for name in SHARES:
        yield name, *("{:.1f} %".format(max(q[i][name] for q in pairs)) for i in (0, 1)), ""


def record(a, load, mb, rows, transfers):
    git = lambda *c: subprocess.run(["git", *c], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    commit = git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    command = " ".join(["benches/state.py", *sys.argv[1:]])
    text = f"### {datetime.date.today().isoformat()}, {commit}, {os.cpu_count()} CPUs, load average {load:.1f}: {a.tokens} tokens ({mb:.0f} MB), {a.pairs} pairs\n\n"
    text += f"`{command}`; {transfers}.\n\n| | original | ours | ratio |\n| --- | --- | --- | --- |\n"
    text += "".join("| " + " | ".join(r) + " |\n" for r in rows) + "\n"
    path = ROOT / "benches" / "RESULTS.md"
    before, after = path.read_text().split("## Decoding\n")
    path.write_text(before + text + "## Decoding\n" + after)


if __name__ == "__main__":
    main()
