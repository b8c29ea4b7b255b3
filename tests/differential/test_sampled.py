"""Chains that run with the model (`llama_set_sampler`, `llama_get_sampled_*`): the same text through both libraries, what their chains make of it,
output by output: counts, candidates, logits, probabilities, the token, and what `llama_sampler_sample` says afterwards.

Beside the original that ../clients builds from source; logits differ by its 8-bit noise, so a token may differ where a draw falls between two."""
import ctypes, os, unittest
import numpy as np
import sides
from test_batches import SOURCE

N = 40  # outputs per chain
PICK_NOTHING = ("cold", "top_k", "top_p", "min_p")


def chains(L, n_vocab):
    """name -> the samplers of a chain, made anew at each call."""
    bias = lambda *pairs: lambda: L.llama_sampler_init_logit_bias(n_vocab, len(pairs), (L.llama_logit_bias * len(pairs))(*[L.llama_logit_bias(t, b) for t, b in pairs]))
    greedy, dist = L.llama_sampler_init_greedy, lambda seed=7: lambda: L.llama_sampler_init_dist(seed)
    top_k, top_p = lambda k: lambda: L.llama_sampler_init_top_k(k), lambda p: lambda: L.llama_sampler_init_top_p(p, 1)
    min_p, temp = lambda p: lambda: L.llama_sampler_init_min_p(p, 1), lambda t: lambda: L.llama_sampler_init_temp(t)
    ext = lambda t, d, e: lambda: L.llama_sampler_init_temp_ext(t, d, e)
    pen = lambda *a: lambda: L.llama_sampler_init_penalties(n_vocab, *a)
    typical = lambda: L.llama_sampler_init_typical(0.9, 1)
    sigma = lambda: L.llama_sampler_init_top_n_sigma(1.0)
    return {
        "greedy": [greedy], "dist": [dist()], "hot": [temp(3.0), dist(11)], "cold": [temp(0.0)], "cold, drawn": [temp(0.0), dist()],
        "top_k": [top_k(8)], "top_k 1": [top_k(1), dist()], "top_k 300, drawn": [top_k(300), temp(2.0), dist(3)],
        "top_p": [top_p(0.9)], "top_p, drawn": [top_p(0.6), dist(5)], "min_p": [min_p(0.1)], "min_p, drawn": [min_p(0.05), temp(1.5), dist(9)],
        "entropy": [ext(1.0, 0.5, 1.0), dist()], "entropy off": [ext(0.7, 0.0, 1.0), dist()], "biased": [bias((5, 4.0), (9, -3.0), (5, 2.0)), dist()],
        "penalised": [pen(16, 1.3, 0.2, 0.1), temp(1.2), dist(21)], "penalised after top_k": [top_k(40), pen(8, 1.5, 0.0, 0.5), dist(22)],
        "usual": [pen(0, 1.0, 0.0, 0.0), top_k(40), top_p(0.95), min_p(0.05), temp(0.8), dist(1234)],
        "ends apart": [top_k(40), typical, dist(6)], "all apart": [sigma, top_k(5), dist(4)], "nothing to do": [top_k(0), temp(1.0), min_p(0.0), dist(8)],
    }


def look(L, p, i):
    """What a chain made of index i."""
    count = [L.llama_get_sampled_logits_count_ith(p, i), L.llama_get_sampled_candidates_count_ith(p, i), L.llama_get_sampled_probs_count_ith(p, i)]
    arrays = [L.llama_get_sampled_logits_ith(p, i), L.llama_get_sampled_candidates_ith(p, i), L.llama_get_sampled_probs_ith(p, i)]
    # Without candidates of its own a row has those of all tokens.
    sizes = [count[0], count[1] or count[0], count[2]]
    read = lambda a, n: np.ctypeslib.as_array(a, (n,)).copy() if a and n else None
    return {"count": count, "is": [bool(a) for a in arrays], "token": L.llama_get_sampled_token_ith(p, i), "row": [read(a, n) for a, n in zip(arrays, sizes)]}


def chain_of(L, makers):
    chain = L.llama_sampler_chain_init(L.llama_sampler_chain_default_params())
    for make in makers:
        L.llama_sampler_chain_add(chain, make())
    return chain


def names(L, chain):
    return [L.llama_sampler_name(L.llama_sampler_chain_get(chain, i)) for i in range(L.llama_sampler_chain_n(chain))]


def work(job):
    import engine
    from engine import L
    model, out = engine.Model(job["model"]), {}
    tokens = model.tokenize(job["text"])[:N]
    for name, makers in chains(L, model.n_vocab).items():
        chain, c = chain_of(L, makers), model.context(n_ctx=256)
        rows, set_to = [], L.llama_set_sampler(c.p, 0, chain)
        # What picks nothing is followed by a chain of the caller's.
        after = chain if name not in PICK_NOTHING else chain_of(L, [L.llama_sampler_init_greedy])
        for i, t in enumerate(tokens):
            assert c.decode([t], [i]) == 0
            rows.append(look(L, c.p, -1))
            rows[-1]["then"] = L.llama_sampler_sample(after, c.p, 0)
        out[name] = set_to, names(L, chain), rows
        c.free()
        L.llama_sampler_free(chain)
    return out


def several(job):
    """Two sequences with chains and one without, several outputs each where that is allowed, then changes of mind."""
    import engine
    from engine import L
    model = engine.Model(job["model"])
    kinds = chains(L, model.n_vocab)
    said, drawn = [], []
    for most in (1, 2, 0):
        a, b, after = chain_of(L, kinds["hot"]), chain_of(L, kinds["top_k"]), chain_of(L, kinds["greedy"])
        c = model.context(n_ctx=256, n_seq_max=3, kv_unified=True, n_outputs_max_per_seq=most)
        said += [L.llama_set_sampler(c.p, 0, a), L.llama_set_sampler(c.p, 1, b), L.llama_set_sampler(c.p, 2, None)]
        for step, outputs in enumerate(((0, 1), (1, 1), (0, 1))):
            pos = [2 * step, 2 * step + 1] * 3
            rc = c.decode([9, 8, 7, 6, 5, 4], pos, [0, 0, 1, 1, 2, 2], list(outputs) * 3)
            said.append(rc)
            if rc != 0:
                L.llama_memory_clear(c.memory, True)
                break
            for i in range(6):
                r = look(L, c.p, i) if outputs[i % 2] else {"count": None, "is": None}
                said.append((r["count"], r["is"]))
            drawn.append(L.llama_sampler_sample(a, c.p, 1))
            said += [drawn[-1] >= 0, L.llama_sampler_sample(after, c.p, 3) in look(L, c.p, 3)["row"][1].tolist()]
        said += [L.llama_set_sampler(c.p, 0, None), L.llama_set_sampler(c.p, 1, None)]
        said += [c.decode([3], [60], [2]), look(L, c.p, 0)["count"], look(L, c.p, 0)["is"]]
        c.free()
        L.llama_sampler_free(a), L.llama_sampler_free(b)
    return said, drawn


class Sampled(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.exists(os.path.join(SOURCE, "libllama.so")):
            print(f"  SKIPPED: chains beside the original. There is no {SOURCE}/libllama.so (make test-clients builds it).")
            raise unittest.SkipTest("no original of this version")
        sides.SIDES["source"] = SOURCE

    def both(self, what, job):
        return sides.each([lambda s=s: sides.run(s, what, job) for s in ("ours", "source")])

    def near(self, mine, theirs, what):
        """Logits or probabilities, by token; who is out is out on both sides but for what lies on the edge."""
        off = [abs(mine[t] - theirs[t]) for t in mine.keys() & theirs.keys() if np.isfinite(mine[t]) and np.isfinite(theirs[t])]
        edge = [t for t in mine.keys() | theirs.keys() if np.isfinite(mine.get(t, -np.inf)) != np.isfinite(theirs.get(t, -np.inf))]
        self.assertLess(max(off, default=0), 1.0, what)
        self.assertLessEqual(len(edge), max(2, len(off) // 5), what)

    def test_chains(self):
        for name, model in sides.MODELS.items():
            ours, original = self.both("test_sampled:work", {"model": model, "text": sides.heldout()[0]})
            same = n = 0
            for chain, (set_to, called, rows) in original.items():
                mine = ours[chain]
                self.assertEqual(mine[:2], (set_to, called), chain)
                for i, (a, b) in enumerate(zip(mine[2], rows)):
                    what = f"{name}, {chain}, output {i}"
                    self.assertEqual((a["count"], a["is"]), (b["count"], b["is"]), what)
                    self.assertEqual(a["token"] < 0, b["token"] < 0, what)
                    if chain != "all apart":
                        self.near(*[dict(zip(r["row"][1].tolist(), r["row"][0])) for r in (a, b)], what)
                    if a["token"] >= 0:
                        self.assertEqual(a["token"], a["then"], what)
                    # Hot, all tokens in order, each with a little of the whole: a draw that falls elsewhere falls beside.
                    beside = abs(a["then"] - b["then"]) <= 20 if chain == "hot" else a["then"] == b["then"]
                    same, n = same + beside, n + 1
                    if a["then"] != b["then"] and b"+penalties" in called:
                        break  # from here on both have seen other tokens
            print(f"  {name}: {len(original)} chains, {same} of {n} tokens the same")
            self.assertGreater(same / n, 0.96, name)

    def test_several_sequences(self):
        for name, model in sides.MODELS.items():
            ours, original = self.both("test_sampled:several", {"model": model})
            self.assertEqual(ours[0], original[0], name)
            # All tokens in order, each with a little of the whole: a draw that falls elsewhere falls beside.
            self.assertLessEqual(max(abs(a - b) for a, b in zip(ours[1], original[1])), 2, (name, ours[1], original[1]))


if __name__ == "__main__":
    unittest.main()
