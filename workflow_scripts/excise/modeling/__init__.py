"""Language models: load, adapt, score, decode, and read their hidden states."""
