"""What the two libraries make of whole texts: through the unmodified Llama(.., embedding=True).embed(), and through llama_encode.
Runs in the processes that sides.run starts."""
import numpy as np
import engine
from engine import L


def embeddings(job):
    """One array per text from Llama.embed: [n_embd], or [n_tokens, n_embd] without pooling. Texts go in one list, so in one batch."""
    from llama_cpp import Llama
    llm = Llama(job["model"], embedding=True, n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=job["n_ctx"], n_threads=1,
                n_threads_batch=1, pooling_type=job["pooling"], verbose=False)
    return [np.array(llm.embed(t), np.float32) for t in job["texts"]]


def encode(job):
    """Per batch of (tokens, positions, sequences) the return code and the pooled rows of all sequences."""
    m = engine.Model(job["model"])
    c = m.context(n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=job["n_ctx"], n_seq_max=8, kv_unified=True, embeddings=True,
                  pooling_type=job["pooling"])
    width = L.llama_model_n_cls_out(m.p) if job["pooling"] == 4 else L.llama_model_n_embd_out(m.p)
    out = []
    for tokens, pos, seqs in job["batches"]:
        rc = L.llama_encode(c.p, engine.batch(tokens, pos, seqs, [1] * len(tokens)))
        rows = [L.llama_get_embeddings_seq(c.p, s) for s in sorted(set(seqs))]
        out.append((rc, [np.ctypeslib.as_array(p, (width,)).copy() if p else None for p in rows]))
    labels = [L.llama_model_cls_label(m.p, i) for i in range(4)]
    c.free()
    return {"out": out, "labels": labels, "pooling": L.llama_model_n_cls_out(m.p)}


def translate(job):
    """Logits along a given answer to each text: an encoder's and its decoder's."""
    m = engine.Model(job["model"])
    c = m.context(n_ctx=job["n_ctx"], n_batch=job["n_ctx"], n_ubatch=job["n_ctx"], kv=job["kv"],
                  flash_attn_type=job["flash"])
    rows, start = [], L.llama_model_decoder_start_token(m.p)
    for tokens in job["texts"]:
        c.clear()
        assert L.llama_encode(c.p, engine.batch(tokens, range(len(tokens)), [0] * len(tokens), [1] * len(tokens))) == 0, engine.said()
        last = start
        for i, next in enumerate(job["answer"]):
            assert c.decode([last], [i]) == 0, engine.said()
            rows.append(c.logits(0))
            last = next
    c.free()
    return {"rows": np.array(rows), "start": start, "has": (L.llama_model_has_encoder(m.p), L.llama_model_has_decoder(m.p))}
