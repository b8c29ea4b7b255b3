#!/bin/sh
# Conformance with results recorded from the original, where the folder that holds them is there: run.sh LIBDIR FOLDER [PYTHON]
#
# The architectures below are those that the library claims; add a name when it learns one. Vocabularies: all of them.
set -u
lib=$1
shared=$2
python=${3:-python3}
ARCHS='llama|llama4|mistral3|internlm2|xverse|smollm3|arcee|seed_oss|exaone|exaone4|qwen2|qwen2moe|qwen3|qwen3moe|gemma|gemma2|gemma3'
ARCHS="$ARCHS|phi2|phi3|phimoe|command-r|cohere2|cohere2moe|gpt-oss|granite|granitemoe|minicpm|deepseek|dots1|bailingmoe|bailingmoe2|glm4moe"
ARCHS="$ARCHS|hunyuan-moe|hunyuan-dense|hunyuan_vl|ernie4_5|ernie4_5-moe|olmo|olmo2|olmoe|chatglm|glm4|gpt2|starcoder|starcoder2|codeshell|gptneox"
ARCHS="$ARCHS|falcon|stablelm|orion|nemotron|dbrx|maincoder|pangu-embedded|plamo|openelm|exaone-moe|qwen|qwen2vl|jais2|paddleocr"
ARCHS="$ARCHS|minimax-m2|mellum|afmoe|spark2_5|qwen3vl|qwen3vlmoe|granite_swa|dream|llada|llada-moe|rnd1"
# Those that the folder calls x-NAME.
X='bert|nomic-bert|jina-bert-v2|jina-bert-v3|modern-bert|neo-bert|eurobert|gemma-embedding|t5|t5encoder'
ARCHS="^(($ARCHS)-(dense|moe)|x-($X))$"

if [ ! -d "$shared/conformance" ]; then
    echo "SKIPPED: conformance. There is no $shared/conformance (set SHARED= to the folder that has it)."
    exit 0
fi
status=0
PYTHONDONTWRITEBYTECODE=1 "$python" "$shared/conformance/run.py" --lib "$lib" --arch "$ARCHS" || status=1
PYTHONDONTWRITEBYTECODE=1 "$python" "$shared/conformance/vocab/vocab.py" --lib "$lib" || status=1
exit $status
