"""libggml.so.0 beside the original's: the same answers to the same questions, the same GGUF files, the same quantised bytes."""
import ctypes as C, glob, os, unittest
import numpy as np
import sides

P, I, L, S = C.c_void_p, C.c_int, C.c_int64, C.c_size_t
TEXT = ["ggml_type_name", "ggml_op_name", "ggml_unary_op_name", "ggml_glu_op_name", "gguf_type_name", "ggml_opt_optimizer_name"]
TYPES = [t for t in range(43) if t not in (4, 5, 31, 32, 33, 36, 37, 38)]
SIZES = {"ggml_blck_size": L, "ggml_type_size": S, "ggml_is_quantized": C.c_bool, "ggml_quantize_requires_imatrix": C.c_bool}


class Params(C.Structure):
    _fields_ = [("no_alloc", C.c_bool), ("ctx", P)]


def load(name, *before):
    for b in before:
        C.CDLL(b, mode=C.RTLD_GLOBAL)
    g = C.CDLL(name)
    for f in TEXT:
        getattr(g, f).restype, getattr(g, f).argtypes = C.c_char_p, [I]
    for f, r in SIZES.items():
        getattr(g, f).restype, getattr(g, f).argtypes = r, [I]
    for f, r, a in [("ggml_quantize_chunk", S, [I, P, P, L, L, L, P]), ("ggml_graph_overhead_custom", S, [S, C.c_bool]), ("ggml_fp16_to_fp32", C.c_float, [C.c_uint16]),
                    ("ggml_fp32_to_fp16", C.c_uint16, [C.c_float]), ("ggml_fp32_to_bf16", C.c_uint16, [C.c_float]), ("gguf_init_from_file", P, [C.c_char_p, Params]),
                    ("gguf_get_n_kv", L, [P]), ("gguf_get_n_tensors", L, [P]), ("gguf_get_key", C.c_char_p, [P, L]), ("gguf_get_kv_type", I, [P, L]),
                    ("gguf_get_val_str", C.c_char_p, [P, L]), ("gguf_get_val_data", P, [P, L]), ("gguf_get_arr_type", I, [P, L]), ("gguf_get_arr_n", S, [P, L]),
                    ("gguf_get_arr_str", C.c_char_p, [P, L, S]), ("gguf_get_arr_data", P, [P, L]), ("gguf_get_tensor_name", C.c_char_p, [P, L]),
                    ("gguf_get_tensor_offset", S, [P, L]), ("gguf_get_tensor_size", S, [P, L]), ("gguf_get_tensor_type", I, [P, L]), ("gguf_get_tensor_ne", P, [P, L]),
                    ("ggml_get_mem_size", S, [P]), ("ggml_free", None, [P]), ("gguf_get_meta_size", S, [P]), ("gguf_get_meta_data", None, [P, P]), ("gguf_get_data_offset", S, [P]), ("gguf_free", None, [P])]:
        getattr(g, f).restype, getattr(g, f).argtypes = r, a
    return g


WIDTH = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def value(g, h, i):
    kind = g.gguf_get_kv_type(h, i)
    if kind == 8:
        return kind, g.gguf_get_val_str(h, i)
    if kind != 9:
        return kind, C.string_at(g.gguf_get_val_data(h, i), WIDTH[kind])
    element, n = g.gguf_get_arr_type(h, i), g.gguf_get_arr_n(h, i)
    if element == 8:
        return kind, element, [g.gguf_get_arr_str(h, i, j) for j in range(n)]
    return kind, element, C.string_at(g.gguf_get_arr_data(h, i), n * WIDTH[element])


def told(g, path):
    """Everything that a file says, and its header as it would be written again."""
    h = g.gguf_init_from_file(path.encode(), Params(True, None))
    pairs = [(g.gguf_get_key(h, i), value(g, h, i)) for i in range(g.gguf_get_n_kv(h))]
    tensors = [(g.gguf_get_tensor_name(h, i), g.gguf_get_tensor_offset(h, i), g.gguf_get_tensor_size(h, i), g.gguf_get_tensor_type(h, i),
                C.string_at(g.gguf_get_tensor_ne(h, i), 32)) for i in range(g.gguf_get_n_tensors(h))]
    header = C.create_string_buffer(g.gguf_get_meta_size(h))
    g.gguf_get_meta_data(h, header)
    offset = g.gguf_get_data_offset(h)
    g.gguf_free(h)
    return pairs, tensors, offset, header.raw


class Ggml(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ours = load(os.path.join(sides.OURS, "libggml.so.0"))
        cls.theirs = load(os.path.join(sides.ORIGINAL, "libggml-base.so"))

    def test_names_and_sizes(self):
        for f, numbers in [("ggml_type_name", TYPES), ("ggml_op_name", range(101)), ("ggml_unary_op_name", range(22)), ("ggml_glu_op_name", range(7)),
                           ("gguf_type_name", range(13)), ("ggml_opt_optimizer_name", range(2)), *((f, TYPES) for f in SIZES)]:
            for n in numbers:
                self.assertEqual(getattr(self.ours, f)(n), getattr(self.theirs, f)(n), f"{f}({n})")
        for n in (1, 100, 2048, 8192, 100000):
            for grads in (False, True):
                self.assertEqual(self.ours.ggml_graph_overhead_custom(n, grads), self.theirs.ggml_graph_overhead_custom(n, grads))

    def test_halves(self):
        numbers = np.random.default_rng(1).integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32)
        numbers = [float(x) for x in numbers[np.isfinite(numbers)]]
        for f in ("ggml_fp32_to_fp16", "ggml_fp32_to_bf16"):
            self.assertEqual([getattr(self.ours, f)(x) for x in numbers], [getattr(self.theirs, f)(x) for x in numbers], f)
        for h in range(1 << 16):
            a, b = self.ours.ggml_fp16_to_fp32(h), self.theirs.ggml_fp16_to_fp32(h)
            self.assertTrue(a == b or (a != a and b != b), hex(h))

    def test_quantised_rows(self):
        x = np.random.default_rng(2).standard_normal(4 * 512).astype(np.float32)
        weights = np.abs(np.random.default_rng(3).standard_normal(512)).astype(np.float32)
        for t in TYPES:
            if t in (9, 15, 24, 25, 26, 27, 28, 40):  # no type of files, no floats, or of its own scale
                continue
            made = []
            for g in (self.ours, self.theirs):
                out = np.zeros(4 * 512 * 4, np.uint8)
                n = g.ggml_quantize_chunk(t, x.ctypes.data, out.ctypes.data, 0, 4, 512, weights.ctypes.data)
                made.append((n, out.tobytes()))
            self.assertEqual(made[0], made[1], self.ours.ggml_type_name(t))

    def test_files(self):
        paths = list(sides.MODELS.values()) + sorted(glob.glob(os.path.join(sides.ROOT, "..", "shared", "conformance", "models", "*.gguf")))[:20]
        for path in paths:
            ours, theirs = told(self.ours, path), told(self.theirs, path)
            self.assertEqual(ours, theirs, path)
            with open(path, "rb") as f:
                self.assertEqual(f.read(len(ours[3])), ours[3], path)

    def test_size_of_their_tensors(self):
        for path in sides.MODELS.values():
            for no_alloc in (False, True):
                sizes = []
                for g in (self.ours, self.theirs):
                    made = P()
                    h = g.gguf_init_from_file(path.encode(), Params(no_alloc, C.addressof(made)))
                    sizes.append(g.ggml_get_mem_size(made))
                    g.ggml_free(made)
                    g.gguf_free(h)
                self.assertEqual(*sizes)


if __name__ == "__main__":
    unittest.main()
