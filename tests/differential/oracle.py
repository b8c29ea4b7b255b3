"""The bundled models in 64-bit floats: what their files say when nothing is rounded but the weights that are stored.

Written with NumPy for these two files only, from the models' papers; it shares no code with either library. Activations, keys and
values stay floats, GELU is a formula and not a table.
"""
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize


class Oracle:
    def __init__(self, path):
        reader = GGUFReader(path)
        self.arch = reader.fields["general.architecture"].contents()
        self.meta = {k: f.contents() for k, f in reader.fields.items()}
        self.w = {t.name.removesuffix(".weight"): dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
        self.gemma = self.arch == "gemma3"
        self.n_layer, self.n_head, self.n_head_kv = self.key("block_count"), self.key("attention.head_count"), self.key("attention.head_count_kv")
        self.head = self.key("attention.key_length")
        self.eps = self.key("attention.layer_norm_rms_epsilon")

    def key(self, name):
        return self.meta[f"{self.arch}.{name}"]

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.w[name]

    def window(self, il):
        """0: the layer sees everything. Every sixth layer of gemma3 does."""
        return self.key("attention.sliding_window") if self.gemma and il % 6 != 5 else 0

    def rope(self, x, il):  # x: [n, heads, head]
        base = self.key("rope.freq_base_swa" if self.window(il) else "rope.freq_base")
        half = self.head // 2
        angle = np.arange(len(x))[:, None, None] * base ** (-np.arange(half) / half)
        a, b = (x[..., :half], x[..., half:]) if self.gemma else (x[..., 0::2], x[..., 1::2])
        a, b = a * np.cos(angle) - b * np.sin(angle), a * np.sin(angle) + b * np.cos(angle)
        return np.concatenate([a, b], -1) if self.gemma else np.stack([a, b], -1).reshape(x.shape)

    def attention(self, x, il):
        name = f"blk.{il}.attn_"
        q, k, v = (x @ self.w[name + c].T for c in "qkv")
        q, k, v = (y.reshape(len(x), -1, self.head) for y in (q, k, v))
        if self.gemma:
            q, k = self.norm(q, name + "q_norm"), self.norm(k, name + "k_norm")
        q, k = self.rope(q, il), self.rope(k, il)
        k, v = (np.repeat(y, self.n_head // self.n_head_kv, 1) for y in (k, v))
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.head)
        back = np.arange(len(x))[:, None] - np.arange(len(x))
        s[:, (back < 0) | ((back >= self.window(il)) if self.window(il) else False)] = -np.inf
        p = np.exp(s - s.max(-1, keepdims=True))
        y = np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v)
        return y.reshape(len(x), -1) @ self.w[name + "output"].T

    def ffn(self, x, il):
        gate, up = (x @ self.w[f"blk.{il}.ffn_{m}"].T for m in ("gate", "up"))
        if self.gemma:
            gate = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        else:
            gate = gate / (1 + np.exp(-gate))
        return (gate * up) @ self.w[f"blk.{il}.ffn_down"].T

    def embeddings(self, tokens):
        """[n, n_embd]"""
        table = self.w["token_embd"]
        x = table[np.asarray(tokens)] * (np.sqrt(table.shape[1]) if self.gemma else 1)
        for il in range(self.n_layer):
            post = self.norm if self.gemma else lambda y, _: y
            x = x + post(self.attention(self.norm(x, f"blk.{il}.attn_norm"), il), f"blk.{il}.post_attention_norm")
            x = x + post(self.ffn(self.norm(x, f"blk.{il}.ffn_norm"), il), f"blk.{il}.post_ffw_norm")
        return self.norm(x, "output_norm")

    def logits(self, tokens):
        """[n, n_vocab]"""
        return self.embeddings(tokens) @ self.w["token_embd"].T


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergence(oracle, logits):
    """KL(oracle || logits) of each row, in nats."""
    p, q = log_softmax(oracle), log_softmax(logits)
    return (np.exp(p) * (p - q)).sum(-1)
