"""Vocabularies: getters, tokens and texts are the original's; for every pre-tokenizer and every kind of tokenizer, on files made here."""
import os, random, re, tempfile, unittest
import gguf
import sides

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
WORDS = ["hello", " world", "The", " HELLO", "don't", "I'll", "we'VE", "naïve", "Grüße", "Ünï", "12345", "3.14", "1,000", "٣٤٥", "你好", "世界",
         "こんにちは", "カタカナ", "한국어", "привет", "مرحبا", "ไทย", "हिन्दी", "🚀", "👩‍👧", "e\u0301", "\u200b", "\u00a0", "\u3000", "ﬁ", "Ⅷ", "½", "\ufeff",
         "\x01", "...", "!!!", "->", "{}", "\\n", "http://a.b/c?d=e", "foo_bar", "0x1F", "▁", "Ġ", "<", ">", "[", "]", "/", "\u1100", "\U0001d400"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "    ", "", "", ""]


def strings(seed, n, more=()):
    r, words = random.Random(seed), WORDS + list(more)
    one = lambda: r.choice(SPACES) if r.random() < .4 else r.choice(words) if r.random() < .7 else r.choice("abcdefghi0123456789 .,'") * r.randint(1, 9)
    return ["".join(one() for _ in range(r.randint(1, 12))).encode() for _ in range(n)]


def write(path, model, tokens, types, scores=None, **keys):
    w = gguf.GGUFWriter(path, "llama")
    for name, value in {"vocab_size": len(tokens), "context_length": 8, "embedding_length": 8, "block_count": 0, "feed_forward_length": 8,
                        "attention.head_count": 1}.items():
        w.add_uint32(f"llama.{name}", value)
    w.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores:
        w.add_token_scores(scores)
    for key, value in keys.items():
        key = "tokenizer.ggml." + key.replace("normalizer_", "normalizer.")
        if key.endswith("merges"):
            w.add_array(key, value)
        elif isinstance(value, bool):
            w.add_bool(key, value)
        elif isinstance(value, str):
            w.add_string(key, value)
        else:
            w.add_uint32(key, value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def byte_alphabet():
    """GPT-2's: a character for every byte."""
    plain = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or 0xAE <= b]
    rest = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(rest)) for b in range(256)]


def byte_pairs():
    """Bytes and merges of any two that meet in the texts, in random order, so that every cut between words shows."""
    r, alphabet = random.Random(1), byte_alphabet()
    encoded = ["".join(alphabet[b] for b in s) for s in strings(2, 300)]
    pairs = sorted({(a, b) for s in encoded for a, b in zip(s, s[1:])})
    r.shuffle(pairs)
    longer = [(a + b, c) for s in encoded for a, b, c in zip(s, s[1:], s[2:]) if r.random() < .1]
    merges = list(dict.fromkeys(pairs[:3000] + longer))
    tokens = list(dict.fromkeys(alphabet + [a + b for a, b in merges] + ["<|im_end|>", "<s>"]))
    return tokens, [" ".join(m) for m in merges]


def pieces(r, n):
    """Random tokens of the texts' characters."""
    texts = [s.decode() for s in strings(3, 300) if s]
    cut = lambda s: s[(k := r.randrange(len(s))):k + r.randint(1, 4)]
    return list(dict.fromkeys(p for p in (cut(r.choice(texts)) for _ in range(n)) if p.strip() and "\0" not in p))


BYTES = [f"<0x{b:02X}>" for b in range(256)]


def others(folder):
    """One or more files of each kind that is not byte pairs."""
    r, files = random.Random(4), {}

    def add(name, *args, **keys):
        files[name] = os.path.join(folder, name + ".gguf")
        write(files[name], *args, **keys)

    words = [p.lower() for p in pieces(r, 3000)]
    tokens = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words + ["▁" + p for p in words] + list("abcdefghijklmnopqrstuvwxyz0123456789")))
    types = [CONTROL] * 5 + [NORMAL] * (len(tokens) - 5)
    ids = {"bos_token_id": 2, "seperator_token_id": 3, "unknown_token_id": 1, "padding_token_id": 0, "mask_token_id": 4}
    add("wpm", "bert", tokens, types, **ids)
    add("wpm-cased", "bert", tokens, types, **ids, normalizer_lowercase=False)
    add("wpm-accents", "bert", tokens, types, **ids, normalizer_strip_accents=False)
    spaced = ["▁"] + [p.replace(" ", "▁") for p in pieces(r, 4000)]
    tokens = list(dict.fromkeys(["<pad>", "</s>", "<unk>"] + spaced + ["<user>", "hello", "<old>"]))
    types = [CONTROL, CONTROL, UNKNOWN] + [USER if t in ("<user>", "hello") else UNUSED if t == "<old>" else NORMAL for t in tokens[3:]]
    scores = [0.0] * 3 + [-r.random() * 12 for _ in tokens[3:]]
    add("ugm", "t5", tokens, types, scores)
    add("ugm-merged", "t5", tokens, types, scores, add_space_prefix=True, remove_extra_whitespaces=True)
    add("ugm-prefix", "t5", tokens, types, scores, add_space_prefix=True, add_bos_token=True, bos_token_id=0)
    escape = lambda t: "".join(chr(b) if 32 <= b < 127 and b != 92 else {9: "\\t", 10: "\\n", 13: "\\r"}.get(b, f"\\x{b:02x}") for b in t)
    tokens = list(dict.fromkeys(["<s>"] + [escape(bytes([b])) for b in range(256)] + [escape(p.encode()) for p in pieces(r, 3000)]))
    add("rwkv", "rwkv", tokens, [CONTROL] + [NORMAL] * (len(tokens) - 1))
    plamo = list(dict.fromkeys(pieces(r, 4000) + ["[PAD]", "hello", "hello w"]))
    tokens = ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"] + BYTES + plamo
    scores = [-1000.0 if t in ("[PAD]", "ell") else 0.0 if i < 260 else -r.random() * 15 for i, t in enumerate(tokens)]
    add("plamo2", "plamo2", tokens, [CONTROL] * 4 + [BYTE] * 256 + [NORMAL] * len(plamo), scores)
    return files


class Vocabs(unittest.TestCase):
    def compare(self, files, texts, **more):
        """Names that the original does not load are told; ours has to load all that it does."""
        job = {"files": list(files.values()), "texts": texts, **more}
        ours, original = sides.both("vocabs:all_of", job)
        for name, a, b in zip(files, ours, original):
            with self.subTest(name):
                if b is None:
                    print(f"  {name}: unknown to the original")
                    continue
                self.assertIsNotNone(a)
                for i, (x, y) in enumerate(zip(a.pop("texts"), b.pop("texts"))):
                    self.assertEqual(x, y, texts[i])
                self.assertEqual(a, b)
        print(f"  {len(files)} vocabularies, {len(texts)} texts each")

    def test_every_pre_tokenizer(self):
        with open(os.path.join(sides.ROOT, "src", "vocab", "pre", "table.rs")) as f:
            names = re.findall(r'"([^"]+)"', "".join(re.findall(r"names: &\[([^\]]*)\]", f.read())))
        self.assertGreater(len(names), 80)
        tokens, merges = byte_pairs()
        with tempfile.TemporaryDirectory() as folder:
            # glm4: newer versions of the original take whole words first, the one compared with does not yet.
            files = {n: os.path.join(folder, n + ".gguf") for n in names if n != "glm4"}
            for name, path in files.items():
                more = BYTES if name in ("gemma4", "granite-embed-multi-311m", "sarvam-moe") else []
                all = list(dict.fromkeys(tokens + more))
                # Words with spaces in them end the original's process.
                write(path, "whitespace" if name == "whitespace" else "gpt2", all, [BYTE if t in more else NORMAL for t in all], pre=name, merges=merges, bos_token_id=len(tokens) - 1, eos_token_id=len(tokens) - 2)
            self.compare(files, strings(5, 400), texts_only=True)

    def test_other_tokenizers(self):
        with tempfile.TemporaryDirectory() as folder:
            self.compare(others(folder), strings(6, 3000, ["[MASK]", "<user>", "<use", "<old>", "[PAD]", "[PA", "<unk>", "hell", "</s>", "<0x41>"]))

    def test_files_of_the_original(self):
        shared = os.environ.get("CAMELID_SHARED") or os.path.join(os.path.dirname(sides.ROOT), "shared")
        folder = os.path.join(shared, "conformance", "vocab")
        if not os.path.isdir(folder):
            self.skipTest(f"SKIPPED: there is no {folder} (set CAMELID_SHARED to the folder that has conformance/)")
        files = {n: os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith(".gguf")}
        self.compare(files, strings(7, 300))


if __name__ == "__main__":
    unittest.main()
