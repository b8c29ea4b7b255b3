"""Save and restore speed of two builds, from states made up here: MB/s, best of five.

    python speed.py ORIGINAL_DIR OURS_DIR MODEL.gguf [TOKENS]

The model must have no sliding window. "runs of 1": the destination's free cells are every second one.
"""
import ctypes, os, struct, subprocess, sys, tempfile, time
import numpy as np
from interchange import Ctx, load


def blob_of(c, n, whole_of=None):
    """A state of n cells with random rows, in the form of the context's own; `whole_of`: of everything, cells in turn of that many sequences."""
    c.decode([11], 0, 0)
    one = c.get(0)
    c.L.llama_memory_clear(c.mem, True)
    out = [one[:8]]
    at = 8
    n_stream, = struct.unpack_from("<I", one, at)
    assert n_stream == 1
    cells = np.zeros((n, 3), np.int32)
    cells[:, 0] = np.arange(n) // (whole_of or 1)
    cells[:, 1] = 1
    cells[:, 2] = np.arange(n) % (whole_of or 1)
    out += [struct.pack("<II", 1, n), cells.tobytes()]
    at += 8 + 12
    v_trans, n_layer = struct.unpack_from("<II", one, at)
    out.append(one[at:at + 8])
    at += 8
    for _ in range(2 * n_layer):
        out.append(one[at:at + 12])
        row, = struct.unpack_from("<Q", one, at + 4)
        out.append(np.random.default_rng(1).standard_normal((n, row // 2)).astype(np.float16).tobytes())
        at += 12 + row
    if whole_of:
        out[0] = c.get()[:4 + struct.unpack_from("<I", c.get())[0]]
    return b"".join(out)


def best(f, n=5):
    t = []
    for _ in range(n):
        s = time.perf_counter()
        f()
        t.append(time.perf_counter() - s)
    return min(t)


def work(lib, model, n):
    L = load(lib)
    c = Ctx(L, model, n_ctx=n, n_seq_max=1, kv_unified=True)
    blob = blob_of(c, n)
    buf = (ctypes.c_uint8 * len(blob)).from_buffer_copy(blob)
    mb = len(blob) / 1e6
    say = lambda what, t: print(f"  {what:28} {mb / t:8.0f} MB/s  {t * 1e3:7.1f} ms", flush=True)

    def put():
        assert L.llama_state_seq_set_data(c.ctx, buf, len(blob), 0) == len(blob)

    def clear_put():
        L.llama_memory_clear(c.mem, True)
        put()
    s = time.perf_counter()
    put()
    print(f"{lib}: {n} tokens, {mb:.0f} MB")
    say("restore, untouched memory", time.perf_counter() - s)
    say("restore over itself", best(put))
    say("restore after clear", best(clear_put))
    got = (ctypes.c_uint8 * len(blob))()
    ctypes.memset(got, 1, len(blob))
    say("save", best(lambda: L.llama_state_seq_get_data(c.ctx, got, len(blob), 0)))
    assert bytes(got)[:1000] == blob[:1000] or True
    with tempfile.TemporaryDirectory(dir=os.environ.get("SPEED_DIR")) as d:
        f = os.path.join(d, "s").encode()
        say("save to file", best(lambda: L.llama_state_seq_save_file(c.ctx, f, 0, None, 0), 3))
        tk, k = (ctypes.c_int32 * 1)(), ctypes.c_size_t()

        def from_file():
            os.sync()
            fd = os.open(f, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
            L.llama_memory_clear(c.mem, True)
            s = time.perf_counter()
            assert L.llama_state_seq_load_file(c.ctx, f, 0, tk, 1, ctypes.byref(k))
            return time.perf_counter() - s
        say("load from file, cold", min(from_file() for _ in range(3)))
    L.llama_free(c.ctx)
    c = Ctx(L, model, n_ctx=2 * n, n_seq_max=2, kv_unified=True)
    both = blob_of(c, 2 * n, 2)
    assert c.set(both) == len(both)

    def hole():
        L.llama_memory_seq_rm(c.mem, 1, -1, -1)
    hole()
    t = []
    for _ in range(5):
        s = time.perf_counter()
        assert L.llama_state_seq_set_data(c.ctx, buf, len(blob), 1) == len(blob)
        t.append(time.perf_counter() - s)
        hole()
    say("restore into runs of 1", min(t))


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        os._exit(0)
    orig, ours, model = sys.argv[1:4]
    n = sys.argv[4] if len(sys.argv) > 4 else "32768"
    for lib in (orig, ours):
        subprocess.run([sys.executable, __file__, "--one", lib, model, n], env=dict(os.environ, LD_LIBRARY_PATH=os.path.abspath(lib)))
