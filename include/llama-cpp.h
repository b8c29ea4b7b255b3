// Owning pointers for C++: a handle that frees itself.
#ifndef LLAMA_CPP_H
#define LLAMA_CPP_H

#ifndef __cplusplus
#error "llama-cpp.h is for C++"
#endif

#include "llama.h"

#include <memory>

struct llama_model_deleter {
    void operator()(llama_model * p) const { llama_model_free(p); }
};
struct llama_context_deleter {
    void operator()(llama_context * p) const { llama_free(p); }
};
struct llama_sampler_deleter {
    void operator()(llama_sampler * p) const { llama_sampler_free(p); }
};
struct llama_adapter_lora_deleter {
    void operator()(llama_adapter_lora * p) const { llama_adapter_lora_free(p); }
};
struct llama_batch_ext_deleter {
    void operator()(llama_batch_ext * p) const { llama_batch_ext_free(p); }
};

using llama_model_ptr        = std::unique_ptr<llama_model, llama_model_deleter>;
using llama_context_ptr      = std::unique_ptr<llama_context, llama_context_deleter>;
using llama_sampler_ptr      = std::unique_ptr<llama_sampler, llama_sampler_deleter>;
using llama_adapter_lora_ptr = std::unique_ptr<llama_adapter_lora, llama_adapter_lora_deleter>;
using llama_batch_ext_ptr    = std::unique_ptr<llama_batch_ext, llama_batch_ext_deleter>;

#endif
