"""States between two builds of libllama: what one writes the other reads, and both go on alike.

    python interchange.py ORIGINAL_DIR OURS_DIR MODEL.gguf [...]

Each DIR has a libllama.so; needs numpy and the bindings of llama-cpp-python 0.3.36 (CMAKE_ARGS=-DLLAMA_BUILD=OFF).
Every case runs in processes of its own: one library per process.
"""
import ctypes, importlib, importlib.util, itertools, os, pickle, subprocess, sys, tempfile, types
import numpy as np

N = 150                      # tokens of the past; more than the bundled gemma3's window
MORE = 8


def load(libdir):
    os.environ["LLAMA_CPP_LIB_PATH"] = os.path.abspath(libdir)
    spec = importlib.util.find_spec("llama_cpp")
    pkg = types.ModuleType("llama_cpp")              # skips the package's __init__ and so the high-level API
    pkg.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = pkg
    ext = importlib.import_module("llama_cpp._ctypes_extensions")
    strict = ext.ctypes_function_for_shared_library

    def tolerant(lib):                               # a library may be older than the bindings
        bind = strict(lib)

        def function(name, *a, **k):
            return bind(name, *a, **k) if hasattr(lib, name) else (lambda f: f)
        return function
    ext.ctypes_function_for_shared_library = tolerant
    L = importlib.import_module("llama_cpp.llama_cpp")

    @L.llama_log_callback
    def quiet(level, text, _):
        if os.environ.get("VERBOSE"):
            sys.stderr.write(text.decode("utf-8", "replace"))
    L._quiet = quiet
    L.llama_log_set(quiet, None)
    try:
        base = ctypes.CDLL(os.path.join(os.path.abspath(libdir), "libggml.so"))
        base.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
        base.ggml_backend_load_all_from_path(os.path.abspath(libdir).encode())
    except OSError:
        pass
    L.llama_backend_init()
    return L


class Ctx:
    def __init__(self, L, model, **kw):
        self.L = L
        mp = L.llama_model_default_params()
        mp.n_gpu_layers = 0
        self.model = L.llama_model_load_from_file(model.encode(), mp)
        assert self.model, "no model"
        p = L.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = 512, 512, 64, 2, 2
        for k, v in kw.items():
            setattr(p, k, v)
        self.ctx = L.llama_init_from_model(self.model, p)
        assert self.ctx, "no context"
        self.mem = L.llama_get_memory(self.ctx)
        self.n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))

    def decode(self, tokens, pos, seq=0):
        L, n = self.L, len(tokens)
        b = L.llama_batch_init(n, 0, 1)
        b.n_tokens = n
        for i, t in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.logits[i] = t, pos + i, 1, 1
            b.seq_id[i][0] = seq
        rc = L.llama_decode(self.ctx, b)
        assert rc == 0, f"decode {rc}"
        p = L.llama_get_logits(self.ctx)
        out = np.ctypeslib.as_array(p, (n, self.n_vocab)).copy()
        L.llama_batch_free(b)
        return out

    def get(self, seq=None, flags=0):
        L = self.L
        n = L.llama_state_get_size(self.ctx) if seq is None else L.llama_state_seq_get_size_ext(self.ctx, seq, flags)
        buf = (ctypes.c_uint8 * n)()
        got = L.llama_state_get_data(self.ctx, buf, n) if seq is None else L.llama_state_seq_get_data_ext(self.ctx, buf, n, seq, flags)
        assert got == n, (got, n)
        return bytes(buf)

    def set(self, blob, seq=None, flags=0):
        buf = (ctypes.c_uint8 * len(blob)).from_buffer_copy(blob)
        if seq is None:
            return self.L.llama_state_set_data(self.ctx, buf, len(blob))
        return self.L.llama_state_seq_set_data_ext(self.ctx, buf, len(blob), seq, flags)


def tokens(n, n_vocab, seed=1):
    return [int(t) for t in np.random.default_rng(seed).integers(10, n_vocab, n)]


def work(job):
    L = load(job["lib"])
    c = Ctx(L, job["model"], **job["params"])
    toks = tokens(N + MORE, c.n_vocab)
    seqs = job["seqs"]
    if job["do"] == "write":
        for s in seqs:
            for i in range(0, N, 64):
                c.decode(toks[i:min(N, i + 64)], i, s)
        whole, seq = c.get(), c.get(seqs[-1])
        part = c.get(seqs[-1], 1)
        assert L.llama_state_save_file(c.ctx, job["file"].encode(), (ctypes.c_int32 * N)(*toks[:N]), N)
        assert L.llama_state_seq_save_file(c.ctx, (job["file"] + ".seq").encode(), seqs[-1], (ctypes.c_int32 * N)(*toks[:N]), N)
        logits = c.decode(toks[N:], N, seqs[-1])
        return dict(whole=whole, seq=seq, part=part, logits=logits)
    out = {}
    blobs = job["blobs"]
    got = c.set(blobs["whole"])
    out["whole"] = (got == len(blobs["whole"]), c.decode(toks[N:], N, seqs[-1]) if got else None)
    L.llama_memory_clear(c.mem, True)
    to = job["to"]
    got = c.set(blobs["seq"], to)
    out["seq"] = (got == len(blobs["seq"]), c.decode(toks[N:], N, to) if got else None)
    if got:
        L.llama_memory_seq_rm(c.mem, to, N, -1)
        g2 = c.set(blobs["part"], to, 1)
        out["part"] = (g2 == len(blobs["part"]), c.decode(toks[N:], N, to) if g2 else None)
    L.llama_memory_clear(c.mem, True)
    tk, n = (ctypes.c_int32 * 1000)(), ctypes.c_size_t()
    ok = L.llama_state_load_file(c.ctx, job["file"].encode(), tk, 1000, ctypes.byref(n))
    out["session"] = (bool(ok) and n.value == N and list(tk[:N]) == toks[:N], c.decode(toks[N:], N, seqs[-1]) if ok else None)
    L.llama_memory_clear(c.mem, True)
    ok = L.llama_state_seq_load_file(c.ctx, (job["file"] + ".seq").encode(), to, tk, 1000, ctypes.byref(n))
    out["seqfile"] = (ok == os.path.getsize(job["file"] + ".seq"), c.decode(toks[N:], N, to) if ok else None)
    return out


def run(job):
    with tempfile.TemporaryDirectory() as d:
        i, o = os.path.join(d, "i"), os.path.join(d, "o")
        pickle.dump(job, open(i, "wb"))
        r = subprocess.run([sys.executable, __file__, "--job", i, o], capture_output=True, text=True,
                           env=dict(os.environ, LD_LIBRARY_PATH=os.path.abspath(job["lib"])))
        if r.returncode or not os.path.exists(o):
            raise RuntimeError(f"{r.returncode} {r.stderr[-2000:]}")
        return pickle.load(open(o, "rb"))


def same_meta(a, b):
    """Bytes of the cells' part: everything up to the first difference must reach into the rows."""
    n = min(len(a), len(b))
    x = np.frombuffer(a[:n], np.uint8) != np.frombuffer(b[:n], np.uint8)
    first = int(np.argmax(x)) if x.any() else n
    return len(a) == len(b), first


def nmse(a, b):
    return float(((a - b) ** 2).mean() / (b ** 2).mean())


def main():
    orig, ours, models = sys.argv[1], sys.argv[2], sys.argv[3:]
    F32, F16, Q8 = 0, 1, 8
    cases = []
    for swa_full in (True, False):
        cases += [(dict(swa_full=swa_full, flash_attn_type=fa), [0], 0) for fa in (-1, 0)]
        cases += [(dict(swa_full=swa_full, n_seq_max=3, n_ctx=1536, kv_unified=u), [0, 2], 1) for u in (True, False)]
    cases += [(dict(type_k=F32, type_v=F32), [0], 0), (dict(type_k=Q8, type_v=Q8, flash_attn_type=1), [0], 0)]
    bad = 0
    for model in models:
        for params, seqs, to in cases:
            with tempfile.TemporaryDirectory() as d:
                made = {}
                for name, lib in (("orig", orig), ("ours", ours)):
                    f = os.path.join(d, name)
                    made[name] = run(dict(do="write", lib=lib, model=model, params=params, seqs=seqs, file=f))
                    made[name]["file"] = f
                line = []
                for k in ("whole", "seq", "part"):
                    eq, first = same_meta(made["orig"][k], made["ours"][k])
                    meta = 8 + 150 * 12 + 20
                    line.append(f"{k}: {'same size' if eq else 'SIZE ' + str((len(made['orig'][k]), len(made['ours'][k])))}, equal to byte {first}")
                print(os.path.basename(model), params, seqs, "|", "; ".join(line))
                for writer, reader, lib in (("orig", "ours", ours), ("ours", "orig", orig), ("ours", "ours", ours), ("orig", "orig", orig)):
                    job = dict(do="read", lib=lib, model=model, params=params, seqs=seqs, to=to,
                               blobs={k: made[writer][k] for k in ("whole", "seq", "part")}, file=made[writer]["file"])
                    try:
                        out = run(job)
                    except RuntimeError as e:
                        print(f"   {writer} -> {reader}: FAILED {e}")
                        bad += 1
                        continue
                    ref, res = made[reader]["logits"], []
                    for k, (ok, logits) in out.items():
                        e = nmse(logits, ref) if logits is not None else float("inf")
                        exact = logits is not None and np.array_equal(logits, ref)
                        good = ok and (exact if writer == reader == "ours" else e < 1e-3)
                        bad += not good and writer + reader != "origorig"
                        res.append(f"{k} {'' if good else 'BAD '}{'exact' if exact else f'{e:.1e}'}")
                    print(f"   {writer} -> {reader}: {', '.join(res)}")
    print("bad:", bad)
    sys.exit(bool(bad))


if __name__ == "__main__":
    if sys.argv[1] == "--job":
        out = work(pickle.load(open(sys.argv[2], "rb")))
        pickle.dump(out, open(sys.argv[3], "wb"))
        os._exit(0)
    main()
