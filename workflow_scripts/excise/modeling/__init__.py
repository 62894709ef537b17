"""Language models: load them, adapt them, score and generate answers, read hidden states.

`base` loads a model folder, `adapters` puts LoRA adapters on it. `chat` turns questions and answers
into token ids. `differentiable_logprobs` computes log-probabilities with gradients, for losses;
`scoring` computes them without gradients, for evaluation. `decoding` generates answers.
`hidden_states` compares two models layer by layer.

Importing this package keeps optional kernels away. bitsandbytes, which peft imports, downloads a
kernel from the hub if the package `kernels` is installed and the CPU has AVX512-BF16; without it,
bitsandbytes prints a warning.
"""

import logging
import sys

sys.modules["kernels"] = None  # type: ignore[assignment]  # its import fails, as if not installed
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
