"""A reranker for llama-server: BERT with a classifier and a word-piece vocabulary, with weights from a fixed seed. It knows nothing, but its
scores are numbers that two libraries can be compared by."""
import os

import numpy as np
from gguf import GGUFWriter, PoolingType, TokenType
from sides import SCRATCH

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] \u2581the \u2581a \u2581fox \u2581dog \u2581ran \u2581in \u2581wood \u2581and \u2581stones \u2581she \u2581ate \u2581cake s ing . ,".split()
N_EMBD, N_FF, N_LAYER, N_HEAD, N_CTX = 32, 64, 2, 4, 256


def make():
    os.makedirs(SCRATCH, exist_ok=True)
    path = os.path.join(SCRATCH, "reranker.gguf")
    w, rng = GGUFWriter(path, "bert"), np.random.default_rng(1)
    w.add_context_length(N_CTX)
    w.add_embedding_length(N_EMBD)
    w.add_feed_forward_length(N_FF)
    w.add_block_count(N_LAYER)
    w.add_head_count(N_HEAD)
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(PoolingType.RANK)
    w.add_classifier_output_labels(["relevance"])
    w.add_tokenizer_model("bert")
    w.add_tokenizer_pre("default")
    w.add_token_list(WORDS)
    w.add_token_types([TokenType.CONTROL if x.startswith("[") else TokenType.NORMAL for x in WORDS])
    w.add_token_type_count(2)
    for name, id in (("pad", 0), ("unk", 1), ("sep", 3), ("mask", 4), ("bos", 2), ("eos", 3)):
        getattr(w, f"add_{name}_token_id")(id)
    w.add_add_bos_token(True)
    w.add_add_eos_token(True)

    def tensor(name, *shape, std=0.2, mean=0.0):
        w.add_tensor(name, (mean + std * rng.standard_normal(shape)).astype(np.float32))

    tensor("token_embd.weight", len(WORDS), N_EMBD, std=1.0)
    tensor("token_types.weight", 2, N_EMBD)
    tensor("position_embd.weight", N_CTX, N_EMBD)
    for norm in ["token_embd_norm"] + [f"blk.{i}.{n}" for i in range(N_LAYER) for n in ("attn_output_norm", "layer_output_norm")]:
        tensor(norm + ".weight", N_EMBD, std=0.1, mean=1.0)
        tensor(norm + ".bias", N_EMBD, std=0.1)
    for i in range(N_LAYER):
        for name, rows, columns in [("attn_q", N_EMBD, N_EMBD), ("attn_k", N_EMBD, N_EMBD), ("attn_v", N_EMBD, N_EMBD), ("attn_output", N_EMBD, N_EMBD),
                                    ("ffn_up", N_FF, N_EMBD), ("ffn_down", N_EMBD, N_FF)]:
            tensor(f"blk.{i}.{name}.weight", rows, columns)
            tensor(f"blk.{i}.{name}.bias", rows, std=0.1)
    tensor("cls.weight", N_EMBD, N_EMBD)
    tensor("cls.bias", N_EMBD)
    tensor("cls.output.weight", 1, N_EMBD)
    tensor("cls.output.bias", 1)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path
