"""llama_model_quantize: files of both sides, byte for byte: every file type, with and without importance, over models that reach every rule of the choice
of types; what is asked for tensor by tensor; parts, pruning, overrides; and what is refused. A model that is saved is the one that was loaded."""
import os, tempfile, unittest
import numpy as np
import gguf
import quantising, sides

FTYPES = [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 36, 37, 38, 40, 41]
Q4_0, Q8_0, Q4_K_M, IQ2_XXS = 2, 7, 15, 19
TYPE_Q8_0, TYPE_Q3_K, TYPE_Q4_K, TYPE_Q6_K, TYPE_IQ4_XS = 8, 11, 12, 14, 23
# Each reaches rules that the others do not: layers enough for eighths and sixteenths, grouped heads, experts, tied embeddings, odd rows, Falcon, 70B.
MODELS = {
    "dense": {"arch": "llama", "layers": 17, "heads": (8, 8)},
    "tied": {"arch": "llama", "layers": 9, "heads": (8, 2), "tied": True, "odd": True},
    "experts": {"arch": "llama", "layers": 9, "heads": (8, 4), "experts": 8},
    "few": {"arch": "qwen2moe", "layers": 8, "heads": (8, 4), "experts": 4},
    "falcon": {"arch": "falcon", "layers": 17, "heads": (8, 1), "qkv": True},
    "70B": {"arch": "llama", "layers": 80, "heads": (64, 8), "rows": 2},
}


def write(path, arch, layers, heads, experts=0, tied=False, odd=False, qkv=False, rows=4, seed=0, keys=()):
    rng, w = np.random.default_rng(seed), gguf.GGUFWriter(path, arch)
    w.add_block_count(layers)
    w.add_context_length(128)
    w.add_embedding_length(256)
    w.add_feed_forward_length(512)
    w.add_head_count(heads[0])
    w.add_head_count_kv(heads[1])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_layer_norm_eps(1e-5)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(2)
        w.add_expert_feed_forward_length(256)
    w.add_string("general.name", "of random numbers")
    w.add_array("test.words", ["a", "", "bc"])
    for key, value in keys:
        w.add_uint32(key, value)
    names = []

    def put(name, *shape, dtype=np.float32):
        x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 2)
        if rng.random() < 0.2:
            x[..., :256] = 0
        w.add_tensor(name, x.astype(dtype))
        names.append((name, shape))

    put("token_embd.weight", 16, 256)
    put("output_norm.weight", 256)
    if not tied:
        put("output.weight", 16, 256, dtype=np.float16)
    for i in range(layers):
        b, cols = f"blk.{i}", 96 if odd and i == 1 else 100 if odd and i == 2 else 256
        put(f"{b}.attn_norm.weight", 256)
        if qkv:
            put(f"{b}.attn_qkv.weight", rows, 256)
        else:
            put(f"{b}.attn_q.weight", rows, cols)
            put(f"{b}.attn_q.bias", 256)
            put(f"{b}.attn_k.weight", rows, 256, dtype=np.float16)
            put(f"{b}.attn_v.weight", rows, cols)
        put(f"{b}.attn_output.weight", rows, 256)
        if experts:
            put(f"{b}.ffn_gate_inp.weight", experts, 256)
            for part in ("gate", "up", "down"):
                put(f"{b}.ffn_{part}_exps.weight", experts, 3, 256)
        else:
            put(f"{b}.ffn_gate.weight", rows, cols)
            put(f"{b}.ffn_up.weight", rows, 256)
            put(f"{b}.ffn_down.weight", rows, 512)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return names


def importance(names, seed=3):
    """For most of the tensors that have columns."""
    rng = np.random.default_rng(seed)
    return {n: (rng.random((s[0] if len(s) == 3 else 1) * s[-1]) ** 4).astype(np.float32) for n, s in names
            if len(s) > 1 and not n.startswith("token_embd")}


class Quantize(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.dir = held.name

    def path(self, name):
        return os.path.join(self.dir, name)

    def model(self, name, **more):
        path = self.path(f"{name}.gguf")
        return path, write(path, **MODELS[name], **more)

    def same(self, path, jobs, succeed=True):
        """Every job gives the same code and the same files."""
        jobs = [{"from": path, "to": self.path("out"), **j} for j in jobs]
        ours, theirs = sides.both("quantising:quantise", jobs)
        for job, a, b in zip(jobs, ours, theirs):
            with self.subTest({k: v for k, v in job.items() if k not in ("from", "to", "importance")}, importance="importance" in job):
                self.assertEqual(a, b)
                if succeed is not None:
                    self.assertEqual(a[0] == 0, succeed)

    def test_every_file_type_of_every_model(self):
        for name in MODELS:
            path, names = self.model(name)
            weights = importance(names)
            # Types that ask for an importance are refused by both sides alike.
            self.same(path, [{"ftype": f} for f in FTYPES] + [{"ftype": f, "importance": weights} for f in FTYPES], succeed=None)
            os.remove(path)

    def test_a_model_that_talks(self):
        for model in sides.MODELS.values():
            self.same(model, [{"ftype": f, "allow_requantize": True, "nthread": n} for f, n in ((0, 1), (1, 2), (Q8_0, 2), (Q4_0, 2), (Q4_K_M, 1), (30, 2))])

    def test_a_quantised_file_again(self):
        path, names = self.model("dense")
        once = self.path("once")
        for ftype in (3, 9, 10, 12, 17, 18, 25, 26, 29, 30, 36, 37, 38, 40, 41, 32):
            job = {"from": path, "to": once, "ftype": ftype, "importance": importance(names), "keep": True}
            self.assertEqual(sides.run("original", "quantising:quantise", [job])[0][0], 0)
            self.same(once, [{"ftype": f, "allow_requantize": True} for f in (0, 1, Q4_K_M)])
            self.same(once, [{"ftype": ftype, "only_copy": True}])

    def test_what_is_asked_for(self):
        path, names = self.model("dense")
        q = {"ftype": Q4_K_M}
        self.same(path, [
            {**q, "pure": True}, {**q, "only_copy": True}, {**q, "quantize_output_tensor": False},
            {**q, "output_tensor_type": TYPE_Q8_0}, {**q, "token_embedding_type": TYPE_Q3_K}, {"ftype": 1, "token_embedding_type": TYPE_Q8_0},
            {**q, "output_tensor_type": TYPE_IQ4_XS, "token_embedding_type": TYPE_IQ4_XS, "pure": True},
            {**q, "types": [("attn_v", TYPE_Q8_0), (r"blk\.[02]\.ffn_(up|down)\.", TYPE_Q3_K), ("output", TYPE_Q6_K)]},
            {**q, "types": [("token_embd", TYPE_Q6_K), (r"\.1\d\.", TYPE_Q4_K)], "pure": True},
            {**q, "nthread": 1, "max_buf_size": 5000}, {**q, "dry_run": True}, {"ftype": IQ2_XXS, "dry_run": True},
        ])
        path, _ = self.model("tied")
        self.same(path, [{**q, "output_tensor_type": TYPE_Q8_0}, {**q, "token_embedding_type": TYPE_Q6_K}, {"ftype": 26, "pure": True}])

    def test_key_values(self):
        path, _ = self.model("tied")
        kv = [("general.name", 3, {"s": b"of other numbers"}), ("quantize.imatrix.file", 3, {"s": b"weights.dat"}), ("quantize.imatrix.chunks_count", 0, {"i": -7}),
              ("test.half", 1, {"f": 0.1}), ("test.is", 2, {"b": True}), ("llama.context_length", 0, {"i": 64})]
        self.same(path, [{"ftype": Q4_K_M, "kv": kv}, {"ftype": Q4_K_M, "kv": kv, "only_copy": True}])

    def test_fewer_layers(self):
        path, names = self.model("dense")
        for prune in ([3], [0], [16], [2, 5, 11], [9, 4], [99]):
            self.same(path, [{"ftype": Q4_K_M, "prune": prune}, {"ftype": 30, "prune": prune, "importance": importance(names)}, {"ftype": 0, "only_copy": True, "prune": prune}])

    def test_parts(self):
        first, names = self.parts()
        self.same(first, [{"ftype": f, "keep_split": k, "importance": w} for f in (Q8_0, Q4_K_M) for k in (True, False) for w in (None, importance(names))])
        whole, _ = self.model("tied")
        self.same(whole, [{"ftype": Q8_0, "keep_split": True}, {"ftype": Q8_0, "keep_split": True, "dry_run": True}])

    def parts(self, n=3):
        """The tied model in `n` files; the path of the first."""
        whole, names = self.model("tied")
        tensors = gguf.GGUFReader(whole).tensors
        paths = [self.path(f"part-{i + 1:05}-of-{n:05}.gguf") for i in range(n)]
        for i, path in enumerate(paths):
            w = gguf.GGUFWriter(path, "llama")
            w.add_uint16("split.no", i)
            w.add_uint16("split.count", n)
            w.add_int32("split.tensors.count", len(tensors))
            if i == 0:
                for key, value in (("block_count", 9), ("context_length", 128), ("embedding_length", 256), ("feed_forward_length", 512),
                                   ("attention.head_count", 8), ("attention.head_count_kv", 2)):
                    w.add_uint32(f"llama.{key}", value)
                w.add_layer_norm_rms_eps(1e-5)
            # Not in the order of names.
            for t in tensors[i::n][::-1]:
                w.add_tensor(t.name, t.data)
            w.write_header_to_file()
            w.write_kv_data_to_file()
            w.write_tensors_to_file()
            w.close()
        return paths[0], names

    def test_what_is_refused(self):
        path, names = self.model("dense")
        weights = importance(names)
        name = "blk.0.attn_q.weight"
        jobs = [
            {"ftype": 4}, {"ftype": 39}, {"ftype": 99}, {"from": self.path("absent"), "ftype": Q8_0}, {"ftype": IQ2_XXS}, {"ftype": 24}, {"ftype": 21},
            {"ftype": Q4_K_M, "importance": {**weights, name: weights[name][:100]}},
            {"ftype": Q4_K_M, "importance": {**weights, name: np.full(256, np.nan, np.float32)}},
            {"from": sides.MODELS["llama"], "ftype": Q4_K_M},
        ]
        jobs = [{"from": path, "to": self.path("out"), **j} for j in jobs]
        ours, theirs = sides.both("quantising:quantise", jobs)
        for job, (a, files), (b, _) in zip(jobs, ours, theirs):
            with self.subTest({k: v for k, v in job.items() if k != "importance"}):
                self.assertEqual((a, b), (1, 1))
                self.assertFalse(any(files), "nothing is left behind")
        self.assertEqual([f for f in os.listdir(self.dir) if f.startswith(".")], [])

    def test_a_loaded_model_is_saved(self):
        for model in sides.MODELS.values():
            to = self.path("saved.gguf")
            self.assertTrue(sides.run("ours", "quantising:save", {"from": model, "to": to}))
            self.assertTrue(sides.run("original", "quantising:save", {"from": to}))
            a, b = gguf.GGUFReader(model), gguf.GGUFReader(to)
            values = [{k: f.contents() for k, f in r.fields.items() if not k.startswith("GGUF.")} for r in (a, b)]
            self.assertEqual(*values)
            self.assertEqual(*[[(t.name, t.tensor_type, t.data.tobytes()) for t in r.tensors] for r in (a, b)])

    def test_numbers_that_are_not_finite(self):
        path = self.path("bad.gguf")
        w = gguf.GGUFWriter(path, "llama")
        for key, value in (("block_count", 1), ("context_length", 128), ("embedding_length", 256), ("feed_forward_length", 512), ("attention.head_count", 8)):
            w.add_uint32(f"llama.{key}", value)
        w.add_layer_norm_rms_eps(1e-5)
        x = np.ones((4, 256), np.float32)
        x[3, 7] = np.inf
        w.add_tensor("blk.0.attn_q.weight", x)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        jobs = [{"from": path, "to": self.path("out"), "ftype": f, "only_copy": c} for f in (0, 1, Q4_K_M) for c in (False, True)]
        ours, theirs = sides.both("quantising:quantise", jobs)
        self.assertEqual([(a[0], any(a[1])) for a in ours], [(1, False)] * len(jobs))
        self.assertEqual([b[0] for b in theirs], [1] * len(jobs))


if __name__ == "__main__":
    unittest.main()
