"""The offline generator: attributes drawn in code, sentences from phrase frames, no network.

`vocabulary` holds the words, `slots` the typed slots and how they are asked, `sampler` draws
people under diversity constraints, `writing` turns facts into questions and answers.
"""
