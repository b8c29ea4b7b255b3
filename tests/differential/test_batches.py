"""Batches that are filled by calls (`llama_batch_ext_*`, `llama_process`): our return codes and logits beside the original's for the same calls.

The packaged original (0.5.0) lacks these functions: with the one that ../clients builds from source both sides make the same calls; without it
the original gets the same batches through `llama_decode`, which there goes through the same checks, and the calls' own codes are as its source says.
"""
import ctypes, os, unittest
import numpy as np
import sides

BIG = 10**9
SOURCE = os.path.join(sides.TOOLS, "programs", "bin")


class Filled:
    """A batch; every call's answer is kept in `said`."""

    def __init__(self, c):
        from engine import L
        self.L, self.c, self.p, self.said = L, c, L.llama_batch_ext_init(c.p), []

    def note(self, v):
        self.said.append(int(v))
        return self

    def add(self, seq):
        return self.note(self.L.llama_batch_ext_add(self.p, seq))

    def token(self, id, pos=None, seq=0, out=False):
        i = self.L.llama_batch_ext_add_token(self.p, seq, id)
        self.note(i)
        if i >= 0 and pos is not None:
            self.pos(i, pos)
        if i >= 0 and out:
            self.output(i)
        return self

    def pos(self, i, *pos):
        return self.note(self.L.llama_batch_ext_set_pos(self.p, i, (ctypes.c_int32 * 4)(*pos)))

    def nowhere(self, i):
        return self.note(self.L.llama_batch_ext_set_pos(self.p, i, None))

    def join(self, i, seq):
        return self.note(self.L.llama_batch_ext_add_seq(self.p, i, seq))

    def output(self, i, on=True, embd=False):
        f = self.L.llama_batch_ext_set_output_embd if embd else self.L.llama_batch_ext_set_output_logits
        return self.note(f(self.p, i, on))

    def _embd(self, rows, n, null=False):
        n_all = max(1, abs(rows * n)) if rows * n < 1 << 20 else 1
        self.keep = np.sin(np.arange(n_all, dtype=np.float32) * 0.37).astype(np.float32)
        data = None if null else self.keep.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return self.L.llama_embd(data, rows, n)

    def embd(self, rows, n, seq=0, null=False):
        return self.note(self.L.llama_batch_ext_add_embd(self.p, seq, self._embd(rows, n, null)))

    def set_embd(self, i, rows, n):
        return self.note(self.L.llama_batch_ext_set_embd_token(self.p, i, self._embd(rows, n)))

    def state(self, i, n):
        return self.note(self.L.llama_batch_ext_set_embd_state(self.p, i, self._embd(1, n)))

    def clear(self):
        self.L.llama_batch_ext_clear(self.p)
        return self

    def run(self, type=1, c=None):
        c = c or self.c
        self.note(self.L.llama_process(c.p, type, self.p))
        for s in (0, 1):
            self.note(self.L.llama_memory_seq_pos_max(c.memory, s))
        return self


def text(b, n, at=0, seq=0, out=None):
    for i in range(n):
        b.token(5 + i % 50, at + i, seq, out is None or i in out)
    return b


def cases():
    """name -> function(batch of a fresh context of 64 tokens, n_embd, another context): nothing; answers are in the batch."""
    yield "in order", lambda b, n, o: text(text(b, 5).run().clear(), 3, 5).run()
    yield "twice the same", lambda b, n, o: text(b, 5).run().run()
    yield "the last one", lambda b, n, o: text(b, 6, out=[5]).run()
    yield "some of them", lambda b, n, o: text(b, 6, out=[1, 4]).run()
    yield "none of them", lambda b, n, o: text(b, 6, out=[]).run()
    yield "taken back", lambda b, n, o: text(b, 3).output(1, False).output(2, False, embd=True).run()
    yield "as an embedding", lambda b, n, o: text(b, 3, out=[]).output(1, True, embd=True).run()
    yield "empty", lambda b, n, o: b.run().clear().run()
    yield "neither", lambda b, n, o: b.add(0).pos(0, 0).run()
    yield "mixed", lambda b, n, o: b.token(5, 0).embd(1, n).pos(1, 1).run().clear().token(5, 0, out=True).run()
    yield "without positions", lambda b, n, o: b.token(5, out=True).run().token(6, out=True).run()
    yield "positions NULL", lambda b, n, o: b.token(5).nowhere(0).nowhere(3).run()
    yield "bad tokens", lambda b, n, o: b.token(-1).token(2048).token(BIG).token(-BIG).token(5).run()
    yield "bad sequences", lambda b, n, o: b.token(5, seq=-1).token(5, seq=2).token(5, seq=BIG).add(-1).add(2).embd(1, n, seq=2).token(5, 0, out=True).run()
    yield "bad indices", lambda b, n, o: b.token(5, 0).pos(-1, 0).pos(1, 0).pos(BIG, 0).join(-1, 0).join(1, 1).join(0, 2).join(0, -1).output(1).output(-1).set_embd(1, 1, n).run()
    yield "full", lambda b, n, o: text(b, 64).token(5).token(-1).token(5, seq=9).add(0).embd(1, n).run().clear().token(5, 64, out=True).run()
    yield "gap", lambda b, n, o: b.token(5, 0).token(6, 2, out=True).run()
    yield "falling", lambda b, n, o: b.token(5, 1).token(6, 0, out=True).run()
    yield "gap to the memory", lambda b, n, o: text(text(b, 3).run().clear(), 1, 5).run()
    yield "the past", lambda b, n, o: text(text(b, 3).run().clear(), 1, 1).run()
    yield "two sequences", lambda b, n, o: text(text(b, 4), 3, seq=1).run()
    yield "shared", lambda b, n, o: text(b, 3).join(0, 1).join(1, 1).join(2, 1).join(2, 1).run()
    yield "shared, then apart", lambda b, n, o: text(b, 2).join(0, 1).join(1, 1).run().clear().token(7, 2, 0, True).token(8, 2, 1, True).run()
    yield "diverged, then shared", lambda b, n, o: b.token(5, 0, 0).token(6, 1, 0).token(7, 0, 1).run().clear().token(8, 2, 0, True).join(0, 1).run()
    yield "embeddings", lambda b, n, o: b.embd(1, n).pos(0, 0, 0, 0, 0).embd(1, n).pos(1, 1, 1, 1, 1).output(1).run()
    yield "embeddings of several rows", lambda b, n, o: b.embd(2, n // 2).pos(0, 0, 0, 0, 0).output(0).run()
    yield "embeddings of a wrong size", lambda b, n, o: b.embd(1, n - 1).embd(2, n).embd(0, n).embd(1, 0).embd(1, n, null=True).embd(BIG, BIG * BIG).run()
    yield "an embedding twice", lambda b, n, o: b.embd(1, n).set_embd(0, 1, n).pos(0, 0, 0, 0, 0).output(0).run()
    yield "an embedding later", lambda b, n, o: b.add(0).set_embd(0, 1, n).pos(0, 0, 0, 0, 0).output(0).run()
    yield "token and embedding", lambda b, n, o: b.token(5, 0).set_embd(0, 1, n).token(6, 1, out=True).set_embd(1, 1, n).run()
    yield "token and embedding, some", lambda b, n, o: b.token(5, 0).set_embd(0, 1, n).token(6, 1, out=True).run()
    yield "states", lambda b, n, o: b.token(5, 0, out=True).state(0, n).state(7, n).run()
    yield "type 2", lambda b, n, o: b.token(5, 0).run(2).run(-1).run()
    yield "another context", lambda b, n, o: text(b, 3).run(c=o).run()


def rows(c, n):
    """The logits that there are, by index."""
    from engine import L
    out = {}
    for i in [*range(n), -1]:
        p = L.llama_get_logits_ith(c.p, i)
        if p:
            out[i] = np.ctypeslib.as_array(p, (c.model.n_vocab,)).copy()
    return out


def work(job):
    import engine
    model, got = engine.Model(job["model"]), {}
    n_embd = engine.L.llama_model_n_embd(model.p)
    made = lambda: model.context(n_batch=64, n_ubatch=16, n_seq_max=2, n_ctx=256, kv_unified=True)
    for name, f in cases():
        c, other = made(), made()
        b = Filled(c)
        f(b, n_embd, other)
        got[name] = b.said, rows(c, 8)
        engine.L.llama_batch_ext_free(b.p)
        c.free(), other.free()
    return got



class Batches(unittest.TestCase):
    def test_the_same_calls(self):
        if not os.path.exists(os.path.join(SOURCE, "libllama.so")):
            print(f"  SKIPPED: batches beside the original. There is no {SOURCE}/libllama.so (make test-clients builds it).")
            raise unittest.SkipTest("no original with llama_batch_ext")
        sides.SIDES["source"] = SOURCE
        for name, model in sides.MODELS.items():
            ours, original = sides.each([lambda s=s: sides.run(s, "test_batches:work", {"model": model}) for s in ("ours", "source")])
            worst, n = 0.0, 0
            for case, (codes, logits) in original.items():
                with self.subTest(model=name, case=case):
                    self.assertEqual(ours[case][0], codes)
                    self.assertEqual(sorted(ours[case][1]), sorted(logits))
                    for i, row in logits.items():
                        mine = ours[case][1][i]
                        far = float(((mine - row) ** 2).sum() / (row ** 2).sum())
                        worst, n = max(worst, far), n + 1
                        self.assertLess(far, 1e-3, f"logits at {i}")
            print(f"  {name}: {len(original)} cases, {n} rows of logits, the farthest nmse {worst:.1e}")


if __name__ == "__main__":
    unittest.main()
