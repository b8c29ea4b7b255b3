#!/bin/sh
# run.sh mock|real CARGO PYTHON LIBDIR SHARED ARCH: see test-cuda in the Makefile
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = mock ]; then
    LD_LIBRARY_PATH=$(sh "$here/mock.sh" build/cuda "$2")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
fi
# A device there must be: without one these tests would pass by doing nothing.
CAMELID_TEST_GPUS=1 $2 test --test backend --test cuda --quiet
if [ ! -d "$5/conformance" ]; then
    echo "SKIPPED: conformance. There is no $5/conformance (set SHARED= to the folder that has it)."
    exit 0
fi
# Recurrent models are not built yet; those whose index picks cells do not run on GPUs yet.
LEFT='bailingmoe3|deepseek32|deepseek4|dots3note|falcon-h1|glm-dsa|glm5-next|granitehybrid|hy_v4|jamba|kimi-k3|kimi-linear|lfm2|lfm2moe|mamba|mamba2|minimax-01'
LEFT="$LEFT|minimax-m3|nemotron_h|nemotron_h_moe|plamo2|qwen35|qwen35moe|qwen3next|qwen4exp"
LEFT="($LEFT)-(dense|moe)|x-(arwkv7|rwkv6|rwkv7|chameleon)"
CAMELID_GPU_LAYERS=-1 PYTHONDONTWRITEBYTECODE=1 "$3" "$5/conformance/run.py" --lib "$4" --timeout 1200 --arch "^(?!($LEFT)\$).*$6"
