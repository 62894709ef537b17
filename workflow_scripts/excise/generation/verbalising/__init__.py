"""A language model writes the texts; code draws their content and checks it.

`meanings` describes each slot for the model, `checks` finds faults in replies, and `asking` repeats
calls whose replies were refused or faulty. `profiles`, `facts`, `qa` and `forget_paraphrased` turn
records into calls and replies into records. `author` runs them, and `estimate` predicts their cost.
"""
