"""Models that others made: evaluate, quantize and compare them like the study's own. Train nothing.

Needs: the folders that section `audit` names, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/{eval,quantize,repr}/{audit,reference}/{name}/; summaries.smk makes the tables in
    <results>/audit/ and puts the same models into the tables of the study.
"""

AUDITED = "|".join(map(re.escape, study.audited)) or "no model"


rule evaluate_audited:
    """Evaluate a model of others."""
    input:
        study.audited_files,
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/evaluate.py",
        lib=library_of("evaluate"),
        holdout=HOLDOUT,
        utility=UTILITY,
    output:
        "<results>/eval/{model}/items.jsonl",
        "<results>/eval/{model}/tokens.parquet",
    log:
        "<logs>/evaluate/{model}.log",
    benchmark:
        "<benchmarks>/evaluate/{model}.jsonl"
    wildcard_constraints:
        model=AUDITED,
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("evaluate"),
        runtime=walltime("evaluate"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.evaluation_settings(),
        models_dir=folder("<results>/models"),
        located=study.located_argument,
        out_dir=folder("<results>/eval"),
        models="{model}",
    message:
        "Evaluating {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " {params.located} --out-dir {params.out_dir:q} --models {params.models:q} > {log:q} 2>&1"


rule quantize_audited:
    """Quantize and evaluate a model of others."""
    input:
        study.finetuned_files,
        study.quantized_data(),
        script="workflow_scripts/quantize.py",
        lib=library_of("quantize"),
        utility=UTILITY,
    output:
        "<results>/quantize/{model}/weights.json",
        collect(
            "<results>/quantize/{{model}}/{precision}.{kind}",
            precision=config["quantization"]["precisions"],
            kind=["jsonl", "parquet"],
        ),
    log:
        "<logs>/quantize/{model}.log",
    benchmark:
        "<benchmarks>/quantize/{model}.jsonl"
    wildcard_constraints:
        model=AUDITED,
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("quantize"),
        runtime=walltime("quantize"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.quantization_settings(),
        models_dir=folder("<results>/models"),
        located=study.located_argument,
        finetuned=study.finetuned_argument,
        out_dir=folder("<results>/quantize"),
        models="{model}",
        precisions=study.recorded_precisions,
    message:
        "Quantizing {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " {params.located} {params.finetuned} --out-dir {params.out_dir:q}"
        " --models {params.models:q} --precisions {params.precisions:q} > {log:q} 2>&1"


rule represent_audited:
    """Compare hidden states of a model of others with its own finetuned model and oracles."""
    input:
        study.compared_files,
        collect("<data>/{name}.jsonl", name=["sf", "sr"]),
        script="workflow_scripts/represent.py",
        lib=library_of("represent", unread=["wrong_details", "forget_paraphrased"]),
        utility=UTILITY,
    output:
        "<results>/repr/{model}/items.jsonl",
    log:
        "<logs>/represent/{model}.log",
    benchmark:
        "<benchmarks>/represent/{model}.jsonl"
    wildcard_constraints:
        model=AUDITED,
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("represent"),
        runtime=walltime("represent"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        data=folder("<data>"),
        hp=study.representation_settings(),
        models_dir=folder("<results>/models"),
        located=study.located_argument,
        compared=study.comparison_arguments,
        out_dir=folder("<results>/repr"),
        models="{model}",
    message:
        "Extracting hidden states: {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " {params.located} --out-dir {params.out_dir:q} {params.compared}"
        " --models {params.models:q} > {log:q} 2>&1"


rule plot_audit:
    """One figure of `excise.plots.figures` about the audited models."""
    input:
        script="workflow_scripts/plot.py",
        lib=study.figure_library,
        rows=study.audit_figure_table,
    output:
        "<results>/audit/{figure}.png",
    log:
        "<logs>/audit/plot/{figure}.log",
    benchmark:
        "<benchmarks>/audit/plot/{figure}.jsonl"
    wildcard_constraints:
        figure="|".join(name for name, one in FIGURES.items() if one.audit),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.plot_settings(),
    message:
        "Plotting {wildcards.figure} (audit)"
    shell:
        "python {input.script:q} --figure {wildcards.figure:q} --rows {input.rows:q}"
        " --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"
