"""What the metrics of the tables mean, besides those of `excise.evaluation.metrics`.

The page shows these texts on hover. The documents that define the metrics: docs/representations.md,
docs/updates-and-forecast.md, docs/relearning.md, docs/comparisons.md and docs/datagen.md.
"""

from excise.evaluation.findings.claims import CLAIMS

_HIDDEN_STATES = {
    "drift": "Distance of the model's hidden states from those of the finetuned model, divided by "
    "the distance of a question from the average question; 0 = the same state.",
    "angle_degrees": "Angle between the hidden states of the model and of the finetuned model.",
    "oracle_drift": "Distance of the model's hidden states from those of the oracles, in the unit "
    "of drift.",
    "erasure": "How much nearer to the oracles the states are than those of the finetuned model: "
    "1 = as the oracle, 0 = as far as finetuned, negative = further away.",
    "direction_cosine": "Cosine of the change since the finetuned model with the way from it to "
    "the oracles; 1 = straight towards them.",
}
_DEPTH = {
    "uds": "Unlearning Depth Score: the loss of the value's log-probability when this model's "
    "states are patched into the finetuned model, as a share of the oracles' loss; 0 = as "
    "readable as in finetuned, 1 = at least as unreadable as in the oracles.",
    "uds_by_layer": "The share behind UDS at one layer, over the questions where it holds "
    "knowledge.",
    "lens_erasure": "The same score as UDS without patching: the finetuned model's head reads "
    "each layer's states.",
    "lens_erasure_by_layer": "The share behind lens_erasure at one layer, over the questions where "
    "it holds knowledge.",
    "patched_logprob": "Log-probability of the true value, mean over its tokens, in the finetuned "
    "model with this model's states after the layer.",
    "lens_logprob": "Log-probability of the true value, mean over its tokens, that the finetuned "
    "model's head reads from this model's states.",
    "knowledge_share": "Share of questions with a layer whose patch from the oracle costs more "
    "log-probability than the threshold.",
    "lens_knowledge_share": "The same share by the logit lens.",
    "probe_accuracy": "Share of people whose value a linear probe finds in the hidden state; it is "
    "trained on other people.",
    "probe_control": "Accuracy of the same probe after the values were dealt out anew among "
    "people.",
    "probe_selectivity": "Accuracy of the probe minus its accuracy with values dealt out anew.",
}
_WEIGHTS = {
    "relative_delta": "Size of the whole adapter, relative to the base weights.",
    "relative_update": "Size of the unlearning update alone, relative to the base weights.",
    "adapted_share": "Share of the weights of all matrices that have an adapter.",
    "quantized_share": "Share of the weights of all matrices that were quantized.",
    "codes_changed": "Share of weights whose quantized code differs between this model and the "
    "finetuned one.",
    "values_changed": "Share of weights whose dequantized value differs between this model and the "
    "finetuned one.",
    "update_kept": "Part of the unlearning update that is left after quantization; 0 = erased, 1 = "
    "all of it.",
    "update_cosine": "Cosine of the update after quantization with the update before; 1 = nothing "
    "but the update.",
    "update_in_columns": "Share of the unlearning update in the column space of the finetuning "
    "update; compare it with chance_of_adapter.",
    "update_in_rows": "Share of the unlearning update in the row space of the finetuning update; "
    "compare it with chance_of_adapter.",
    "update_in_both": "Share of the unlearning update in the column space and the row space of the "
    "finetuning update; compare it with chance_of_adapter.",
}
_COMES_BACK = {
    "beyond_oracles": "What is known beyond the oracles under the same attack, paired by question.",
    "change": "The metric after minus the metric before, on the same questions: quantized minus "
    "full precision, or after so many steps of relearning minus step 0.",
    "change_beyond_oracles": "The change minus the mean change of the oracles, paired by question; "
    "above 0, facts come back that guessing does not explain.",
    "recovery": "(quantized − full precision) / (finetuned − full precision): the share of the "
    "lost metric that quantization brings back.",
    "area": "Mean value over the relearning attack: the area under the curve divided by the last "
    "step.",
    "area_beyond_oracles": "The area minus the mean area of the oracles, paired by question.",
    "steps_to_half": "First measured step of the attack at which the model knows at least half of "
    "what the finetuned model knows; empty: never.",
}
_FORECAST = {
    "spearman": "Rank correlation of a forecast with the damage of each retain fact; 0 = no "
    "forecast.",
    "spearman_within_person": "Mean of the rank correlations of forecast and damage within each "
    "person; 0 = no forecast.",
    "auc_lost": "Chance that a lost retain fact has a higher forecast than a kept one; .5 = no "
    "forecast.",
}
_COMPARISONS = {
    "forget_retain_score": "Harmonic mean of forgetting and retention, each from 0 to 1, from slot "
    "accuracies beside those of the finetuned model and the oracles.",
    "logprob_drop": "Fall of the log-probability per token of the true answer since the finetuned "
    "model, in nats.",
    "slot_lost": "1 if the model no longer states a fact that the finetuned model states, else 0.",
    "log_probability_change": "Log-probability per token of the true answer minus the same of the "
    "finetuned model, in nats; negative = damaged.",
}
_RED_TEAM = {
    "truth_ratio_median": "Median over questions of the probability of the true answer divided by "
    "that of the wrong answers; 1 = the model prefers neither.",
    "rougeL_over_0.6": "Share of answers with a ROUGE-L recall above .6.",
    "value_recall": "Share of the different words of the true value that the answer has.",
    "chance_of_20": "Chance that one of 20 answers sampled at temperature 1 is the true answer, "
    "word for word.",
    "facts_named": "Share of the person's facts that the answer to a question about the name alone "
    "states.",
    "others_named": "Share of other people's facts that the answer to a question about the name "
    "alone states.",
    "facts_named_excess": "Facts of the person that are named, minus facts of other people.",
    "overconfident_share": "Share of names about which the model answers more confidently than "
    "about nearly all control names, which no person has.",
    "sure_by_chance": "The same share for unknown names.",
    "gradient_cosine": "Cosine of the gradients of a retain fact and of a forget fact of the same "
    "person in the finetuned model, mean over the facts.",
    "pass_rate": "Share of questions that the judge finds sound; empty where the judge is useless.",
    "recall": "Share of planted defects to which the judge objects.",
    "false_positive_rate": "Share of the sound twins of planted defects to which the judge "
    "objects.",
    "recall_excess": "How much more often the judge objects to planted defects than to their sound "
    "twins.",
}
_DIVERSITY = {
    "compression_ratio": "Bytes of all texts divided by their bytes after gzip; lower = more "
    "varied.",
    "self_repetition_4": "How many other texts share runs of four words with a text, on a "
    "logarithmic scale; lower = more varied.",
    "self_bleu_4": "Mean BLEU-4 of each text with all others as references; lower = more varied.",
    "distinct_1": "Number of different words divided by the number of all; higher = more varied.",
    "distinct_2": "Number of different pairs of words divided by the number of all; higher = more "
    "varied.",
    "mean_cosine": "Mean cosine of all pairs of texts; lower = more varied.",
    "vendi_score": "Effective number of different texts; higher = more varied.",
    "normalised_entropy": "Shannon entropy of a slot's values divided by its maximum; higher = "
    "more varied.",
    "pair_coverage": "Share of the possible pairs of two slots' values that occur, mean over pairs "
    "of slots; higher = more varied.",
}
MEANINGS: dict[str, str] = {
    **_HIDDEN_STATES,
    **_DEPTH,
    **_WEIGHTS,
    **_COMES_BACK,
    **_FORECAST,
    **_COMPARISONS,
    **_RED_TEAM,
    **_DIVERSITY,
    **{claim.name: f"{claim.statement} {claim.test}" for claim in CLAIMS},
}
"""Metric → what it means, in one sentence; of a claim: its statement and its test."""
