"""Files of many architectures: quantised, and their logits along given tokens. Runs in the processes that sides.run starts."""
import decoders
import logits


def quantise(jobs):
    """[{from, to, ftype}]: return codes of llama_model_quantize."""
    return [logits.quantize(j) for j in jobs]


def rows(jobs):
    """As decoders.logits, of each; a text where there is none."""
    def one(job):
        try:
            return decoders.logits(job)
        except (RuntimeError, AssertionError) as e:
            return str(e)
    return [one(j) for j in jobs]
