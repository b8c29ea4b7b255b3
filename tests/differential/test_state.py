"""States: what one side writes the other reads, and both go on alike; KV metadata byte for byte; what is broken changes nothing of ours.

Numbers D7 to D13 are those of the list of differential tests that this project keeps.
"""
import ctypes, os, struct, sys, tempfile, unittest
import numpy as np
import sides, test_decoders as decoders

N, MORE = 150, 8  # tokens of the past (more than the bundled gemma3's window) and after it
LIMIT = 1e-3      # NMSE: 8-bit noise of two libraries
SMALL = 20        # times that with K and V of four bits, where a last bit of the input is a sixteenth of the range
F32, F16, Q4_0, Q8_0 = 0, 1, 2, 8
PARTIAL = 1

# Parameters, the sequences that are filled, the one that a sequence's state is put into.
CASES = {
    "plain": (dict(), [0], 0),
    "small windows": (dict(swa_full=False), [0], 0),
    "V transposed": (dict(flash_attn_type=0), [0], 0),
    "V transposed, small windows": (dict(flash_attn_type=0, swa_full=False), [0], 0),
    "unified": (dict(n_seq_max=3, n_ctx=1536, kv_unified=True, swa_full=True), [0, 2], 1),
    "unified, small windows": (dict(n_seq_max=3, n_ctx=1536, kv_unified=True, swa_full=False), [0, 2], 1),
    "streams": (dict(n_seq_max=3, n_ctx=1536, kv_unified=False, swa_full=True), [0, 2], 1),
    "streams, small windows": (dict(n_seq_max=3, n_ctx=1536, kv_unified=False, swa_full=False), [0, 2], 1),
    "f32": (dict(type_k=F32, type_v=F32), [0], 0),
    "q8_0": (dict(type_k=Q8_0, type_v=Q8_0, flash_attn_type=1), [0], 0),
    "q4_0": (dict(type_k=Q4_0, type_v=Q4_0, flash_attn_type=1), [0], 0),
    "q8_0 and f16": (dict(type_k=Q8_0, type_v=F16, flash_attn_type=1), [0], 0),
}
KINDS = ("whole", "seq", "part", "session file", "sequence file")


def limit(case):
    return LIMIT * SMALL if "q4_0" in case else LIMIT


def tokens(model, n=N + MORE, seed=1):
    return [int(t) for t in np.random.default_rng(seed).integers(10, model.n_vocab, n)]


def nmse(a, b):
    return float(((a - b) ** 2).sum() / (b ** 2).sum())


class States:
    """The state calls of one context. `seq` None: all of it."""

    def __init__(self, model, **params):
        import engine
        self.L, self.model, self.log = engine.L, model, engine.LOG
        self.c = model.context(**{**dict(n_ctx=512, n_batch=512, n_ubatch=64, n_threads=2, n_threads_batch=2), **params})

    def get(self, seq=None, flags=0):
        L, c = self.L, self.c.p
        n = L.llama_state_get_size(c) if seq is None else L.llama_state_seq_get_size_ext(c, seq, flags)
        buf = (ctypes.c_uint8 * n)()
        got = L.llama_state_get_data(c, buf, n) if seq is None else L.llama_state_seq_get_data_ext(c, buf, n, seq, flags)
        assert got == n, (got, n)
        return bytes(buf)

    def set(self, blob, seq=None, flags=0):
        buf = (ctypes.c_uint8 * max(1, len(blob))).from_buffer_copy(blob or b"\0")
        if seq is None:
            return self.L.llama_state_set_data(self.c.p, buf, len(blob))
        return self.L.llama_state_seq_set_data_ext(self.c.p, buf, len(blob), seq, flags)

    def save(self, path, toks, seq=None):
        a = (self.L.llama_token * len(toks))(*toks)
        if seq is None:
            return self.L.llama_state_save_file(self.c.p, path.encode(), a, len(toks))
        return self.L.llama_state_seq_save_file(self.c.p, path.encode(), seq, a, len(toks))

    def load(self, path, seq=None):
        """(what the call says, the tokens)"""
        a, n = (self.L.llama_token * 1000)(), ctypes.c_size_t()
        if seq is None:
            ok = self.L.llama_state_load_file(self.c.p, path.encode(), a, 1000, ctypes.byref(n))
        else:
            ok = self.L.llama_state_seq_load_file(self.c.p, path.encode(), seq, a, 1000, ctypes.byref(n))
        return ok, list(a[:n.value])

    def memory(self, name, *a):
        return getattr(self.L, "llama_memory_" + name)(self.c.memory, *a)

    def ends(self, seq=0):
        return self.memory("seq_pos_min", seq), self.memory("seq_pos_max", seq)


# ---- what runs in a process of its own

def write(job):
    """Per case: states of all kinds, the logits of what comes next."""
    import engine
    model, out = engine.Model(job["model"]), {}
    t = tokens(model)
    for name, (params, seqs, _) in CASES.items():
        s = States(model, **params)
        for q in seqs:
            s.c.feed(t[:N], 0, 64, q)
        last = seqs[-1]
        made = {"whole": s.get(), "seq": s.get(last), "part": s.get(last, PARTIAL), "empty": s.get(1) if len(seqs) > 1 else None}
        for kind, seq in (("session file", None), ("sequence file", last)):
            with tempfile.TemporaryDirectory() as d:
                assert s.save(os.path.join(d, "f"), t[:N], seq)
                with open(os.path.join(d, "f"), "rb") as f:
                    made[kind] = f.read()
        made["logits"] = s.c.feed(t[N:], N, MORE, last)
        out[name] = made
        s.c.free()
    return out


def read(job):
    """Per case and kind: whether the call was content, and the logits of what comes next."""
    import engine
    model, out = engine.Model(job["model"]), {}
    t = tokens(model)
    for name, (params, seqs, to) in CASES.items():
        s, made, got = States(model, **params), job["states"][name], {}
        for kind in KINDS:
            whole = kind in ("whole", "session file")
            target, blob = seqs[-1] if whole else to, made[kind]
            if kind == "part":  # into its base
                s.memory("seq_rm", to, N, -1)
                good = s.set(blob, to, PARTIAL) == len(blob)
            else:
                s.c.clear()
                if "file" in kind:
                    with tempfile.TemporaryDirectory() as d:
                        path = os.path.join(d, "f")
                        with open(path, "wb") as f:
                            f.write(blob)
                        ok, toks = s.load(path, None if whole else to)
                        good = bool(ok) and toks == t[:N]
                else:
                    good = s.set(blob, None if whole else to) == len(blob)
            got[kind] = (good, s.c.feed(t[N:], N, MORE, target) if good else engine.said())
        out[name] = got
        s.c.free()
    return out


def pending(job):
    """D13: the logits that follow a state saved right after an operation, beside those of the context that it was saved from."""
    import engine
    model = engine.Model(job["model"])
    t, out = tokens(model), {}

    def add(s):
        s.c.feed(t[:N], 0, 64)
        s.memory("seq_rm", 0, 10, 20)
        s.memory("seq_add", 0, 20, -1, -10)
        return 0, N - 10

    def copy(s):
        s.c.feed(t[:N], 0, 64)
        s.memory("seq_cp", 0, 1, -1, -1)
        return 1, N
    for name, f, params in (("seq_add", add, {}), ("seq_cp", copy, dict(n_seq_max=2, n_ctx=1024))):
        a, b = States(model, **params), States(model, **params)
        seq, end = f(a)
        blob = a.get(seq)
        assert b.set(blob, seq) == len(blob)
        out[name] = (b.c.feed(t[N:], end, MORE, seq), a.c.feed(t[N:], end, MORE, seq))
    return out


def quantised(job):
    """The state of a sequence with q8_0 rows, and the logits of what comes next; after `blob` where there is one."""
    import engine
    s = States(engine.Model(job["model"]), type_k=Q8_0, type_v=Q8_0, flash_attn_type=1)
    t = [int(x) for x in np.random.default_rng(3).integers(0, 128, 70)]
    if job.get("blob") is None:
        s.c.feed(t[:60], 0, 20)
    elif s.set(job["blob"], 0) != len(job["blob"]):
        raise RuntimeError(engine.said())
    return s.get(0), s.c.feed(t[60:], 60, 10)


def scattered(job):
    """The state of everything after cells have come and gone in several sequences."""
    import engine
    model = engine.Model(job["model"])
    s, t = States(model, n_seq_max=3, n_ctx=512, kv_unified=True), tokens(model)
    for i in range(0, 60, 4):
        for q in range(3):
            assert s.c.decode(t[i:i + 4], range(i, i + 4), [q] * 4) == 0
    s.memory("seq_rm", 1, -1, -1)
    s.memory("seq_rm", 2, 40, -1)
    s.c.feed(t[:90], 0, 30, 1)
    return s.get()


def broken(job):
    """D9: per broken state over a live sequence (what the call says, positions after, same bytes as before, words logged)."""
    import engine
    model = engine.Model(job["model"])
    s, t = States(model, n_seq_max=2, kv_unified=True), tokens(model)
    out = {}
    for name, what, blob in job["blobs"]:
        s.c.clear()
        s.c.feed(t[:50], 0, 50)
        before = s.get()
        del s.log[:]
        if what == "file":
            with tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "f")
                with open(path, "wb") as f:
                    f.write(blob)
                rc = s.load(path, 0)[0]
        else:
            rc = s.set(blob, 0 if what == "seq" else None)
        out[name] = (int(rc), s.ends(), s.get() == before, " | ".join(s.log))
    return out


# ---- what is expected

def parse(blob, kind, planes=2):
    """(header and everything that says what rows are; cells; rows), or what a state of the original's version 10 consists of."""
    at, meta, cells, rows = 0, [], [], []

    def take(n):
        nonlocal at
        at += n
        assert at <= len(blob), "too short"
        return blob[at - n:at]

    def u32():
        b = take(4)
        meta.append(b)
        return struct.unpack("<I", b)[0]
    if "file" in kind:
        u32(), u32()
        meta.append(take(4 * u32()))
    if kind in ("whole", "session file"):
        meta.append(take(u32()))
    elif kind != "sequence file":
        u32(), u32()
    while at < len(blob):
        for _ in range(u32()):
            n = u32()
            if n == 0:
                continue
            for _ in range(n):
                start = at
                count, = struct.unpack_from("<I", blob, at + 4)
                cells.append(take(8 + 4 * count))
                meta.append(blob[start:at])
            v_trans, n_layer = u32(), u32()
            for plane in range(planes):
                for _ in range(n_layer):
                    ty = u32()
                    if plane == 1 and v_trans:
                        size, width = u32(), u32()
                        size *= width
                    else:
                        meta.append(take(8))
                        size, = struct.unpack("<Q", meta[-1])
                    rows.append((ty, take(size * n)))
    return b"".join(meta), cells, rows


def blocks(b, size):
    """(scales, quanta) of blocks of 32"""
    b = np.frombuffer(b, np.uint8).reshape(-1, 2 + size)
    return b[:, :2].copy().view(np.float16).astype(np.float32), b[:, 2:]


def floats(rows):
    def one(ty, b):
        if ty == Q8_0:
            d, q = blocks(b, 32)
            return (d * q.view(np.int8)).ravel()
        if ty == Q4_0:
            d, q = blocks(b, 16)
            return (d * (np.concatenate((q & 15, q >> 4), 1).astype(np.float32) - 8)).ravel()
        return np.frombuffer(b, {F32: np.float32, F16: np.float16}[ty]).astype(np.float32)
    return [one(*r) for r in rows]


class State(unittest.TestCase):
    def test_interchange(self):
        """D7, D8: both directions, whole contexts and sequences, in memory and in files."""
        for m, path in sides.MODELS.items():
            ours, original = sides.both("test_state:write", {"model": path})
            for case, kind in ((c, k) for c in CASES for k in KINDS):
                with self.subTest(model=m, case=case, kind=kind, check="metadata"):
                    (a, _, x), (b, _, y) = parse(ours[case][kind], kind), parse(original[case][kind], kind)
                    self.assertEqual(a, b)
                    self.assertLess(max(nmse(p, q) for p, q in zip(floats(x), floats(y))), 2 * limit(case) if "q" in case else 10 * LIMIT)
            read = lambda side, states: sides.run(side, "test_state:read", {"model": path, "states": states})
            by_ours, by_original = sides.each([lambda: read("ours", original), lambda: read("original", ours)])
            again = read("ours", ours)
            worst = {"ours": 0.0, "original": 0.0}
            for case, kind in ((c, k) for c in CASES for k in KINDS):
                for reader, got, own in (("ours", by_ours, ours), ("original", by_original, original)):
                    with self.subTest(model=m, case=case, kind=kind, reader=reader):
                        good, logits = got[case][kind]
                        self.assertTrue(good, logits)
                        off = nmse(logits, own[case]["logits"])
                        worst[reader] = max(worst[reader], off)
                        self.assertLess(off, limit(case))
                with self.subTest(model=m, case=case, kind=kind, check="ours to ours, same bits"):
                    good, logits = again[case][kind]
                    self.assertTrue(good, logits)
                    self.assertTrue(np.array_equal(logits, ours[case]["logits"]))
            print(f"  {m}: {len(CASES) * len(KINDS)} states each way; worst nmse theirs -> ours {worst['ours']:.1e}, ours -> theirs {worst['original']:.1e}")

    def test_quantised_rows_of_other_heads(self):
        """Under which transform rows are kept goes by the heads of a group: of 128, 192 and 64 values, of sizes that differ, latent."""
        sys.path.insert(0, decoders.SPECS)
        try:
            import make_models
        except ImportError:
            print(f"  SKIPPED: rows of other heads. There is no {decoders.SPECS} (set CAMELID_SHARED to the folder that has it).")
            self.skipTest("no specs")
        spec = decoders.Spec
        for spec, planes in ((spec("llama-dense"), 2), (decoders.older_latent(), 2), (decoders.mimo_values(), 2), (decoders.gemma4_sizes(), 2),
                             (spec("deepseek2-moe"), 1)):
            with self.subTest(spec.s["arch"]), tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "model.gguf")
                make_models.build(spec.s, path)
                (ours, x), (original, y) = sides.both("test_state:quantised", {"model": path})
                rows = max(nmse(p, q) for p, q in zip(*(floats(parse(b, "seq", planes)[2]) for b in (ours, original))))
                read = lambda side, blob: sides.run(side, "test_state:quantised", {"model": path, "blob": blob})[1]
                got = nmse(read("ours", original), y), nmse(read("original", ours), x)
                print(f"  {spec.s['arch']}: nmse of rows {rows:.1e}, theirs -> ours {got[0]:.1e}, ours -> theirs {got[1]:.1e}")
                self.assertLess(max(rows, *got), LIMIT)

    def test_rows_are_transformed_unless_the_switch_says_no(self):
        rows = lambda blob: floats(parse(blob, "seq")[2])
        apart = lambda a, b: [nmse(p, q) for p, q in zip(rows(a[0]), rows(b[0]))]
        for m, path in sides.MODELS.items():
            with self.subTest(model=m):
                default, (ours, original) = (sides.both("test_state:quantised", {"model": path}, **e) for e in ({}, {"LLAMA_ATTN_ROT_DISABLE": "1"}))
                self.assertLess(max(apart(*default)), LIMIT)
                self.assertLess(max(apart(ours, original)), LIMIT)
                self.assertGreater(min(apart(ours, default[0])), 0.5, "the switch did nothing")

    def test_rows_that_are_as_they_are_say_so(self):
        """A sequence's state from under the switch is read without it, by ours; the original takes what it would have written."""
        off = {"LLAMA_ATTN_ROT_DISABLE": "1"}
        for m, path in sides.MODELS.items():
            with self.subTest(model=m):
                blob, want = sides.run("ours", "test_state:quantised", {"model": path}, **off)
                got = sides.run("ours", "test_state:quantised", {"model": path, "blob": blob})[1]
                same = sides.run("original", "test_state:quantised", {"model": path, "blob": blob}, **off)[1]
                print(f"  {m}: nmse {nmse(got, want):.1e}, of the original {nmse(same, want):.1e}")
                self.assertLess(max(nmse(got, want), nmse(same, want)), LIMIT)
                lost = sides.run("original", "test_state:quantised", {"model": path, "blob": blob})[1]
                self.assertGreater(nmse(lost, want), 10 * LIMIT, "the original has learnt it")

    def test_same_cells_in_some_order(self):
        for m, path in sides.MODELS.items():
            with self.subTest(model=m):
                (_, a, _), (_, b, _) = (parse(x, "whole") for x in sides.both("test_state:scattered", {"model": path}))
                self.assertEqual(sorted(a), sorted(b))
                self.assertEqual(len(a), 380 if m == "gemma3" else 190, "gemma3 has them in two groups")

    def test_operations_that_wait(self):
        """D13: ours saves what it would after a decode; the original saves rows that have not followed yet."""
        for m, path in sides.MODELS.items():
            ours, original = sides.both("test_state:pending", {"model": path})
            for name in ours:
                with self.subTest(model=m, operation=name):
                    self.assertTrue(np.array_equal(*ours[name]))
                    self.assertGreater(nmse(*original[name]), LIMIT, "the original has learnt it: say so in the README")

    def test_broken_states(self):
        """D9: nothing of ours changes, and the log says why; the original has lost the sequence."""
        for m, path in sides.MODELS.items():
            made = sides.run("ours", "test_state:write", {"model": path})["plain"]
            other = sides.run("ours", "test_state:write", {"model": sides.MODELS["gemma3" if m == "llama" else "llama"]})["plain"]
            seq, files = made["seq"], made["sequence file"]
            put = lambda b, at, v: b[:at] + struct.pack("<i", v) + b[at + 4:]
            blobs = [("nothing", "seq", b""), ("half", "seq", seq[:len(seq) // 2]), ("all but a byte", "seq", seq[:-1]), ("other magic", "seq", put(seq, 0, 7)),
                     ("no streams", "seq", put(seq, 8, 0)), ("2^30 cells", "seq", put(seq, 12, 1 << 30)), ("position -7", "seq", put(seq, 16, -7)),
                     ("two sequences", "seq", put(seq, 20, 2)), ("another model", "whole", other["whole"]), ("another model's sequence", "seq", other["seq"]),
                     ("half of everything", "whole", made["whole"][:len(made["whole"]) // 2]), ("half a file", "file", files[:len(files) // 2]),
                     ("a session file", "file", made["session file"]), ("version 99", "file", put(files, 4, 99)), ("2^31 - 1 tokens", "file", put(files, 8, 2**31 - 1)),
                     ("an empty file", "file", b"")]
            ours = sides.run("ours", "test_state:broken", {"model": path, "blobs": blobs})
            for name, (rc, ends, same, log) in ours.items():
                with self.subTest(model=m, state=name):
                    self.assertEqual((rc, ends, same), (0, (0, 49), True))
                    self.assertTrue(log.strip(), "nothing was logged")
            original = sides.run("original", "test_state:broken", {"model": path, "blobs": [b for b in blobs if b[0] == "half"]})
            self.assertEqual(original["half"][:2], (0, (-1, -1)), "the original has learnt it: say so in the README")


if __name__ == "__main__":
    unittest.main()
