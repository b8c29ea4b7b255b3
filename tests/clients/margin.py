"""margin.py MODEL BYTE < TEXT: log-probability of the original's best token minus that of its second, where the token at that byte of the text is
chosen. Runs on the library that LLAMA_CPP_LIB_PATH names."""
import sys

import llama_cpp
import numpy as np

model, at, text = sys.argv[1], int(sys.argv[2]), sys.stdin.buffer.read()
m = llama_cpp.Llama(model, n_ctx=2048, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False)
tokens = m.tokenize(text, add_bos=True, special=True)
# The first token whose text goes beyond the byte; the beginning-of-text token has none.
n = next(n for n in range(1, len(tokens) + 1) if len(m.detokenize(tokens[:n], special=True)) > at or n == len(tokens))
m.eval(tokens[:max(1, n - 1)])
x = np.sort(m.scores[m.n_tokens - 1].astype(np.float64))
print(x[-1] - x[-2])
