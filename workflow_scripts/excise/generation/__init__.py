"""Generate the dataset: code draws the people, and phrase frames or a model write the texts.

`sampler` draws people under diversity constraints, `writing` turns facts into questions and
answers, `offline_author` needs no model, and `verbalising` lets a model write the texts.
"""
