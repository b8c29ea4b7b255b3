#!/bin/sh
# Conformance with results recorded from the original, where the folder that holds them is there: run.sh LIBDIR FOLDER [PYTHON]
#
# The architectures and vocabularies below are those that the library claims; add a name when it learns one.
set -u
lib=$1
shared=$2
python=${3:-python3}
ARCHS='^((llama|llama4|internlm2|xverse|qwen2|qwen2moe|qwen3|qwen3moe|gemma|gemma2|gemma3|phi2|phi3|command-r|cohere2|cohere2moe|gpt-oss)-|exaone-dense)'
VOCABS='^(llama-spm|phi-3|llama-bpe|gpt-2|qwen2|qwen35|command-r|deepseek-coder|deepseek-llm|falcon|gemma-4|mpt|refact|starcoder)$'

if [ ! -d "$shared/conformance" ]; then
    echo "SKIPPED: conformance. There is no $shared/conformance (set SHARED= to the folder that has it)."
    exit 0
fi
status=0
PYTHONDONTWRITEBYTECODE=1 "$python" "$shared/conformance/run.py" --lib "$lib" --arch "$ARCHS" || status=1
PYTHONDONTWRITEBYTECODE=1 "$python" "$shared/conformance/vocab/vocab.py" --lib "$lib" --vocab "$VOCABS" || status=1
exit $status
