"""Generated records → benchmark files, after a check of their consistency and of repetitions.

`generated` reads the generator's four files and names their lines. `people` drops incomplete
people, `integrity` finds records that contradict each other, `repetitions` finds questions that
ask the same, `near_duplicates` counts similar texts, and `validate` runs all of it.

A *fault* stops the dataset. A paraphrased forget question that repeats another one is dropped.
Other repetitions are only counted, because people share phrasings on purpose: sets must differ in
what their questions ask for, not in how they ask.
"""
