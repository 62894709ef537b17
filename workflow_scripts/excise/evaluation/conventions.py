"""How the tables' own figures are computed, in a few words: the column `convention`.

A metric of `excise.evaluation.metrics` declares its convention itself. This list has the other
figures of the result files. A finding has none: its column `test` says what is computed.
"""

_STATES = {
    "drift": "distance to finetuned / distance of finetuned from its mean over questions",
    "angle_degrees": "angle between the states of the model and of finetuned",
    "oracle_drift": "distance to the oracle in the unit of drift, mean over oracles",
    "erasure": "1 − distance to the oracle / that of finetuned, mean over oracles",
    "direction_cosine": "cosine of model − finetuned and oracle − finetuned, mean over oracles",
}
_DEPTH = {
    "uds": "UDS; block outputs patched where the value is predicted; mean over oracles",
    "uds_by_layer": "LER of UDS at one layer",
    "lens_erasure": "as UDS, by the logit lens with the head of finetuned",
    "lens_erasure_by_layer": "LER of lens_erasure at one layer",
    "patched_logprob": "nats per token of the value",
    "lens_logprob": "nats per token of the value, by the head of finetuned",
    "knowledge_share": "share of questions with a layer above the threshold",
    "lens_knowledge_share": "the same share by the logit lens",
    "probe_accuracy": "linear probe, trained on other people",
    "probe_control": "the same probe on values dealt out anew",
    "probe_selectivity": "probe_accuracy − probe_control",
}
_WEIGHTS = {
    "relative_delta": "‖ΔW‖ / ‖W‖ of the adapter, Frobenius norm",
    "relative_update": "‖W − W_finetuned‖ / ‖W_base‖, Frobenius norm",
    "adapted_share": "share of the weights of matrices, without embeddings and head",
    "quantized_share": "share of the weights of matrices, without embeddings and head",
    "codes_changed": "share of the adapted weights with another code than in finetuned",
    "values_changed": "share of the adapted weights with another code times scale",
    "update_kept": "⟨Q(W) − Q(V), W − V⟩ / ‖W − V‖²; Q rounds, V = finetuned",
    "update_cosine": "cosine of Q(W) − Q(V) and W − V; Q rounds, V = finetuned",
    "update_in_columns": "share of its squared norm in the column space of finetuning's",
    "update_in_rows": "share of its squared norm in the row space of finetuning's",
    "update_in_both": "share of its squared norm in both spaces of finetuning's",
}
_COMES_BACK = {
    "beyond_oracles": "value − mean of the oracles, paired by question",
    "change": "after − before, paired by question",
    "change_beyond_oracles": "change − mean change of the oracles, paired by question",
    "recovery": "share of what was forgotten",
    "area": "trapezoids over steps, divided by the last step",
    "area_beyond_oracles": "area − mean area of the oracles, paired by question",
    "steps_to_half": "first measured step with at least half of what finetuned knows",
}
_FORECAST = {
    "spearman": "rank correlation over retain facts, ties at their mean rank",
    "spearman_within_person": "mean over people of rank correlations",
    "auc_lost": "AUC of lost against kept facts",
}
_COMPARISONS = {
    "forget_retain_score": "harmonic mean of forgetting and retention, each cut to 0 … 1",
    "logprob_drop": "least squares within people, CR2 errors over people",
    "slot_lost": "least squares within people (linear probability), CR2 errors over people",
    "log_probability_change": "model − finetuned, nats per token of the true answer",
}
_RED_TEAM = {
    "truth_ratio_median": "median over questions of true over wrong answers",
    "rougeL_over_0.6": "share of answers with a ROUGE-L recall above .6",
    "value_recall": "share of the different words of the value that the answer has",
    "chance_of_20": "1 − (1 − p)^20, p = probability of the true answer, word for word",
    "facts_named": "share of the person's facts",
    "others_named": "share of the facts of other people",
    "facts_named_excess": "facts_named − others_named, paired by person",
    "overconfident_share": "share of names above nearly all control names",
    "sure_by_chance": "the same share for unknown names",
    "gradient_cosine": "mean cosine with the gradients of the person's forget facts",
    "pass_rate": "share of questions the judge finds sound",
    "recall": "share of planted defects with an objection",
    "false_positive_rate": "share of sound twins with an objection",
    "recall_excess": "recall − false_positive_rate, paired by twin",
}
_DIVERSITY = {
    "compression_ratio": "bytes / bytes after gzip",
    "self_repetition_4": "mean of ln(1 + sum over runs of 4 words of the other texts with it)",
    "self_bleu_4": "mean BLEU-4 against all other texts",
    "distinct_1": "different words / words, as many words for every dataset",
    "distinct_2": "different pairs of words / pairs, as many for every dataset",
    "mean_cosine": "mean cosine over all pairs of texts",
    "vendi_score": "exp of the entropy of the similarity matrix's eigenvalues",
    "normalised_entropy": "Shannon entropy / its maximum",
    "pair_coverage": "share of possible pairs of values, mean over pairs of slots",
}
CONVENTIONS: dict[str, str] = {
    **_STATES,
    **_DEPTH,
    **_WEIGHTS,
    **_COMES_BACK,
    **_FORECAST,
    **_COMPARISONS,
    **_RED_TEAM,
    **_DIVERSITY,
}
"""Figure → how it is computed."""
