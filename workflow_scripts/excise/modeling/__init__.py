"""Language models: load them, adapt them, score and generate answers, read hidden states.

`base` loads a model folder, `adapters` puts LoRA adapters on it. `chat` turns questions and answers
into token ids. `differentiable_logprobs` computes log-probabilities with gradients, for losses;
`scoring` computes them without gradients, for evaluation. `decoding` generates answers.
`hidden_states` compares two models layer by layer.
"""
