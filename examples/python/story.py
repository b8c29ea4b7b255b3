"""A story, word by word, through llama-cpp-python: LLAMA_CPP_LIB_PATH=... python3 story.py MODEL.gguf PROMPT [N]"""
import sys
from llama_cpp import Llama

model, prompt, n = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 60
llm = Llama(model, n_ctx=512, verbose=False)
for part in llm.create_completion(prompt, max_tokens=n, temperature=0, stream=True):
    print(part["choices"][0]["text"], end="", flush=True)
print()
