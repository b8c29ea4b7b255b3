"""The same bits however a text is computed: batch and ubatch size, threads, company of other sequences; for every KV cache type."""
import hashlib, unittest
import sides

KV = {"f32": 0, "f16": 1, "q8_0": 8}
N = 150  # longer than two attention leaves and than the window of gemma3


def bits(rows):
    return hashlib.sha256(rows.tobytes()).hexdigest()[:16]


def work(job):
    """Digest of all logits per way of computing them."""
    import engine
    model = engine.Model(job["model"])
    tokens = model.tokenize(job["text"])[:N]
    out = {}

    def way(name, chunk=512, company=False, **params):
        ctx = model.context(n_ctx=512, n_batch=512, kv=job["kv"], n_seq_max=2, kv_unified=True, **params)
        if company:  # another sequence takes cells in between and sits in the same ubatches
            other = tokens[::-1]
            rows = []
            for i in range(0, N, 10):
                part = tokens[i:i + 10] + other[i:i + 5]
                seqs = [0] * len(tokens[i:i + 10]) + [1] * len(other[i:i + 5])
                pos = [*range(i, i + seqs.count(0)), *range(i // 2, i // 2 + seqs.count(1))]
                assert ctx.decode(part, pos, seqs) == 0, engine.said()
                rows += [ctx.logits(j) for j in range(seqs.count(0))]
            out[name] = bits(engine.np.array(rows))
        else:
            out[name] = bits(ctx.feed(tokens, 0, chunk))
        ctx.free()

    way("one batch")
    for n in (1, 7, 32, 512):
        way(f"ubatch {n}", n_ubatch=n)
    way("token by token", chunk=1)
    way("batches of 13, ubatches of 5", chunk=13, n_ubatch=5)
    way("two threads", n_threads=2, n_threads_batch=2)
    way("two threads, token by token", chunk=1, n_threads=2, n_threads_batch=2)
    way("with another sequence", company=True)
    way("swa_full", swa_full=True)
    return out


class Invariance(unittest.TestCase):
    def test_same_bits(self):
        text = sides.heldout()[0]
        jobs = [(m, kv) for m in sides.MODELS for kv in KV]
        results = sides.each([lambda m=m, kv=kv: sides.run("ours", "test_invariance:work", {"model": sides.MODELS[m], "kv": KV[kv], "text": text})
                              for m, kv in jobs])
        for (m, kv), out in zip(jobs, results):
            for name, digest in out.items():
                with self.subTest(model=m, kv=kv, way=name):
                    self.assertEqual(digest, out["one batch"])
        for m in sides.MODELS:
            first = [out["one batch"] for (n, _), out in zip(jobs, results) if n == m]
            self.assertEqual(len(set(first)), len(KV), "the cache type changes nothing: it is not used")


if __name__ == "__main__":
    unittest.main()
