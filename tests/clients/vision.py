"""Images by libmtmd, which stays the original's as its libggml does: what it computes goes into our libllama as embeddings.

The encoders are made here, from a seed: they see nothing, but a picture becomes rows of numbers that two libraries can be compared by. One for the
bundled Gemma 3, whose images attend to themselves without a causal mask, one for the bundled llama.
"""
import base64, os, struct, zlib

import numpy as np
import server
from gguf import GGUFWriter
from sides import GEMMA, MODEL, NEAR, SCRATCH, Failed, both, folder, same_text

SIDE, PATCH, N_EMBD, N_FF, N_LAYER, N_HEAD = 64, 8, 32, 64, 2, 4
N_EMBD_TEXT = 256  # of both models


def encoder(projector):
    """A SigLIP of two layers with the projector of `gemma3` (four patches to a row) or `janus_pro` (a row each)."""
    os.makedirs(SCRATCH, exist_ok=True)
    path = os.path.join(SCRATCH, f"mmproj-{projector}.gguf")
    w, rng = GGUFWriter(path, "clip"), np.random.default_rng(7)
    w.add_type("mmproj")
    w.add_bool("clip.has_vision_encoder", True)
    w.add_string("clip.projector_type", projector)
    w.add_bool("clip.use_gelu", True)
    for key, value in (("image_size", SIDE), ("patch_size", PATCH), ("embedding_length", N_EMBD), ("feed_forward_length", N_FF), ("block_count", N_LAYER),
                       ("projection_dim", N_EMBD_TEXT), ("attention.head_count", N_HEAD), ("projector.scale_factor", 2)):
        w.add_uint32("clip.vision." + key, value)
    w.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    w.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    w.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])

    def tensor(name, *shape, std=0.2, mean=0.0):
        w.add_tensor(name, (mean + std * rng.standard_normal(shape)).astype(np.float32))

    def linear(name, n_in, n_out, std=0.2):
        tensor(name + ".weight", n_out, n_in, std=std)
        tensor(name + ".bias", n_out, std=0.02)

    def norm(name):
        tensor(name + ".weight", N_EMBD, std=0.1, mean=1.0)
        tensor(name + ".bias", N_EMBD, std=0.02)

    tensor("v.patch_embd.weight", N_EMBD, 3, PATCH, PATCH, std=0.1)
    tensor("v.patch_embd.bias", N_EMBD)
    tensor("v.position_embd.weight", (SIDE // PATCH) ** 2, N_EMBD)
    for i in range(N_LAYER):
        block = f"v.blk.{i}."
        for n in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(block + n, N_EMBD, N_EMBD)
        linear(block + "ffn_up", N_EMBD, N_FF)
        linear(block + "ffn_down", N_FF, N_EMBD)
        norm(block + "ln1")
        norm(block + "ln2")
    norm("v.post_ln")
    if projector == "gemma3":
        tensor("mm.soft_emb_norm.weight", N_EMBD, std=0.1, mean=1.0)
        tensor("mm.input_projection.weight", N_EMBD, N_EMBD_TEXT, std=0.1)
    else:
        linear("mm.0", N_EMBD, N_EMBD_TEXT)
        linear("mm.1", N_EMBD_TEXT, N_EMBD_TEXT, std=0.04)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


def picture(seed):
    """A PNG of coloured stripes, other ones for another seed."""
    rng = np.random.default_rng(seed)
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (8, 4, 3), dtype=np.uint8), 12, 0), 20, 1)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def question(*seeds):
    """A chat with that many pictures before the words."""
    url = lambda seed: "data:image/png;base64," + base64.b64encode(picture(seed)).decode()
    parts = [{"type": "image_url", "image_url": {"url": url(seed)}} for seed in seeds]
    return {"messages": [{"role": "user", "content": parts + [{"type": "text", "text": "Tell me a story about a fox."}]}], "temperature": 0, "max_tokens": 32,
            "logprobs": True, "top_logprobs": 2}


def images(s):
    """One picture, another, both, and both again, which the server has in its cache."""
    said = {}
    for name, seeds in (("one", [1]), ("another", [2]), ("both", [1, 2]), ("again", [1, 2])):
        a = s.ask("/v1/chat/completions", question(*seeds))
        said[name] = {"tokens": [(t["token"], [c["logprob"] for c in t["top_logprobs"]]) for t in a["choices"][0]["logprobs"]["content"]],
                      "prompt": a["usage"]["prompt_tokens"], "cached": a["timings"].get("cache_n")}
    return said


def apart(ours, original):
    """How far log-probabilities are apart as long as both say the same, and the place where they stop, if they do."""
    same = next((i for i, (a, b) in enumerate(zip(ours, original)) if a[0] != b[0]), min(len(ours), len(original)))
    return max((abs(a[1][0] - b[1][0]) for a, b in zip(ours[:same], original[:same])), default=0.0), same if same < max(len(ours), len(original)) else None


def alike(name, ours, original):
    """Both say the same, or part where the original's best two are as good as equal: the distance so far, and a note."""
    worst, at = apart(ours, original)
    if at is None:
        return worst, ""
    gap = original[at][1][0] - original[at][1][1] if at < min(len(ours), len(original)) else float("inf")
    where = f"ours {ours[at:at + 1]}, original {original[at:at + 1]}"
    if gap > NEAR:
        raise Failed(f"{name} parts after {at} tokens: {where}")
    return worst, f"; {name} parts at a near-tie ({gap:.2f}) after {at} of {len(original)} tokens"


def answers(model, projector):
    ours, original = server.on_both(images, "-m", model, "-c", 1024, "-np", 1, "--mmproj", encoder(projector))
    found = [alike(name, ours[name]["tokens"], original[name]["tokens"]) for name in original]
    worst, (seen, parts) = max(w for w, _ in found), apart(original["one"]["tokens"], original["another"]["tokens"])
    if worst > NEAR or parts is None and seen < 4 * worst:
        raise Failed(f"log-probabilities within {worst:.2g}, another picture changes them by {seen:.2g}")
    for key in ("prompt", "cached"):
        if [a[key] for a in ours.values()] != [a[key] for a in original.values()]:
            raise Failed(f"{key}: {[a[key] for a in ours.values()]}, original {[a[key] for a in original.values()]}")
    changes = f"another picture changes them by {seen:.2g}" + ("" if parts is None else " and the words")
    return f"{len(found)} answers, log-probabilities within {worst:.2g} ({changes})" + "".join(note for _, note in found)


def cli():
    """Three pictures before a question, the words after them by the program that is made for it."""
    with folder() as d:
        files = []
        for seed in (1, 2, 3):
            files += ["--image", os.path.join(d, f"{seed}.png")]
            with open(files[-1], "wb") as f:
                f.write(picture(seed))
        said = []
        for model, projector in ((GEMMA, "gemma3"), (MODEL, "janus_pro")):
            ours, original = both("llama-mtmd-cli", "-m", model, "-t", 1, "--temp", 0, "-c", 1024, "-n", 8, "--mmproj", encoder(projector), *files, "-p", "Tell me a story about a fox.")
            said.append(same_text(ours.out, original.out, least=4))
    return "; ".join(said)


ALL = {
    "llama-mtmd-cli": cli,
    "libmtmd: llama-server with images, gemma3": lambda: answers(GEMMA, "gemma3"),
    "libmtmd: llama-server with images, llama": lambda: answers(MODEL, "janus_pro"),
}
