"""Tables: metrics with intervals over people, from the records of every question.

Needs: <results>/{eval,quantize,repr,depth}/ and a passed red team.
Makes: <results>/{distance,eval,sweep,retain_compare,comparison,quantize,repr,depth}_results.json,
    <results>/repr_results_{layer}.json, <results>/repr_layers.json, <results>/findings.json.
"""

for where, suffix, remark, models in study.tables_of("all"):

    rule:
        """Compare every model with the oracles, and the oracles with each other."""
        name:
            f"compare_oracle{suffix}"
        input:
            collect("<results>/eval/{model}/items.jsonl", model=models),
            script="workflow_scripts/compare_oracle.py",
            lib=library_of("compare_oracle", unread=["wrong_details"]),
            report="<results>/data_report.json",
            asked=ASKED,
            utility=UTILITY,
        output:
            report(
                f"<results>/{where}distance_results.json",
                **place_of(f"{where}distance_results", "table"),
            ),
        log:
            f"<logs>/{where}compare_oracle.log",
        benchmark:
            f"<benchmarks>/{where}compare_oracle.jsonl"
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=per_attempt(2000),
            runtime=per_attempt(30),
            gpu=0,
        params:
            eval_dir=folder("<results>/eval"),
            models=models,
            data=folder("<data>"),
            hp=study.summary_settings(),
            experiment=config["experiment"],
            config=study.table_config(where, "evaluation"),
        message:
            f"Comparing every model with the oracles{remark}"
        shell:
            "python {input.script:q} --eval-dir {params.eval_dir:q} --models {params.models:q}"
            " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
            " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
            " > {log:q} 2>&1"


for table, path, what, models, marks_levels in (
    (
        "eval",
        "eval",
        "the levels of unlearning",
        [*study.baselines(), *study.level_checkpoints(), *study.audited],
        True,
    ),
    ("sweep", "sweep", "every checkpoint", study.models_in(""), False),
    *[("audit", "audit/eval", "the audited models", study.models_in("audit/"), False)][
        : bool(study.audited)
    ],
):

    rule:
        """Summarise every metric, for the checkpoints of the levels or for all checkpoints."""
        name:
            f"summarize_{table}"
        input:
            collect(
                "<results>/eval/{model}/{file}",
                model=models,
                file=["items.jsonl", "tokens.parquet"],
            ),
            script="workflow_scripts/summarize_eval.py",
            lib=library_of("summarize_eval", unread=["wrong_details"]),
            report="<results>/data_report.json",
            asked=ASKED,
            utility=UTILITY,
        output:
            report(f"<results>/{path}_results.json", **place_of(f"{path}_results", "table")),
        log:
            f"<logs>/summarize_{table}.log",
        benchmark:
            f"<benchmarks>/summarize_{table}.jsonl"
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=per_attempt(2000),
            runtime=per_attempt(30),
            gpu=0,
        params:
            eval_dir=folder("<results>/eval"),
            models=models,
            data=folder("<data>"),
            hp=study.summary_settings(marks_levels),
            experiment=config["experiment"],
            config=study.table_config(path.rpartition("eval")[0], "evaluation"),
        message:
            f"Summarising {what}"
        shell:
            "python {input.script:q} --eval-dir {params.eval_dir:q} --models {params.models:q}"
            " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
            " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
            " > {log:q} 2>&1"


for where, suffix, remark, models in study.tables_of("all"):

    rule:
        """Compare correlated with other retain facts, paired by slot, per person."""
        name:
            f"compare_retain{suffix}"
        input:
            collect("<results>/eval/{model}/items.jsonl", model=models),
            script="workflow_scripts/compare_retain.py",
            lib=library_of("compare_retain", unread=["wrong_details"]),
            report="<results>/data_report.json",
            asked=ASKED,
            utility=UTILITY,
        output:
            report(
                f"<results>/{where}retain_compare_results.json",
                **place_of(f"{where}retain_compare_results", "table"),
            ),
        log:
            f"<logs>/{where}compare_retain.log",
        benchmark:
            f"<benchmarks>/{where}compare_retain.jsonl"
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=per_attempt(2000),
            runtime=per_attempt(30),
            gpu=0,
        params:
            eval_dir=folder("<results>/eval"),
            models=models,
            data=folder("<data>"),
            hp=study.summary_settings(),
            experiment=config["experiment"],
            config=study.table_config(where, "evaluation"),
        message:
            f"Comparing correlated with other facts{remark}"
        shell:
            "python {input.script:q} --eval-dir {params.eval_dir:q} --models {params.models:q}"
            " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
            " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
            " > {log:q} 2>&1"


rule compare_methods:
    """Compare methods at matched forgetting, over frontiers, and by what explains the damage."""
    input:
        collect("<results>/eval/{model}/items.jsonl", model=study.baselines() + study.checkpoints()),
        script="workflow_scripts/compare_methods.py",
        lib=library_of("compare_methods", unread=["wrong_details"]),
        report="<results>/data_report.json",
        asked=ASKED,
        utility=UTILITY,
    output:
        report("<results>/comparison_results.json", **place_of("comparison_results", "table")),
    log:
        "<logs>/compare_methods.log",
    benchmark:
        "<benchmarks>/compare_methods.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        eval_dir=folder("<results>/eval"),
        models=study.baselines() + study.checkpoints(),
        data=folder("<data>"),
        hp=study.summary_settings(marks_levels=False),
        experiment=config["experiment"],
        config=study.result_config("lora", "finetuning", "oracle", "unlearning", "evaluation"),
    message:
        "Comparing methods at matched forgetting"
    shell:
        "python {input.script:q} --eval-dir {params.eval_dir:q} --models {params.models:q}"
        " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
        " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
        " > {log:q} 2>&1"


for where, suffix, remark, models in study.tables_of("quantized"):

    rule:
        """Summarise how much quantization recovers of the forgotten facts."""
        name:
            f"summarize_quantize{suffix}"
        input:
            collect(
                "<results>/quantize/{model}/{file}",
                model=models,
                file=[
                    "weights.json",
                    *(f"{name}.jsonl" for name in config["quantization"]["precisions"]),
                    *(f"{name}.parquet" for name in config["quantization"]["precisions"]),
                ],
            ),
            collect(
                "<results>/eval/{model}/{file}",
                model=models,
                file=["items.jsonl", "tokens.parquet"],
            ),
            script="workflow_scripts/summarize_quantize.py",
            lib=library_of("summarize_quantize", unread=["wrong_details"]),
            report="<results>/data_report.json",
            asked=ASKED,
            utility=UTILITY,
        output:
            report(
                f"<results>/{where}quantize_results.json",
                **place_of(f"{where}quantize_results", "table"),
            ),
        log:
            f"<logs>/{where}summarize_quantize.log",
        benchmark:
            f"<benchmarks>/{where}summarize_quantize.jsonl"
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=per_attempt(2000),
            runtime=per_attempt(30),
            gpu=0,
        params:
            quantize_dir=folder("<results>/quantize"),
            eval_dir=folder("<results>/eval"),
            models=models,
            data=folder("<data>"),
            hp=study.recovery_settings(),
            experiment=config["experiment"],
            config=study.table_config(where, "evaluation", "quantization"),
        message:
            f"Summarising the quantization stress test{remark}"
        shell:
            "python {input.script:q} --quantize-dir {params.quantize_dir:q}"
            " --eval-dir {params.eval_dir:q} --models {params.models:q}"
            " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
            " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
            " > {log:q} 2>&1"


rule summarize_relearn:
    """Summarise what the relearning attack brings back, beside the oracles under the same attack."""
    input:
        collect(
            "<results>/relearn/{model}/{attack}/step_{step}.jsonl",
            model=study.relearning_models(),
            attack=study.relearning_attacks(),
            step=config["relearning"]["steps"],
        ),
        "<results>/eval/finetuned/items.jsonl",
        script="workflow_scripts/summarize_relearn.py",
        lib=library_of("summarize_relearn", unread=["wrong_details"]),
        report="<results>/data_report.json",
        asked=ASKED,
        utility=UTILITY,
    output:
        report("<results>/relearn_results.json", **place_of("relearn_results", "table")),
    log:
        "<logs>/summarize_relearn.log",
    benchmark:
        "<benchmarks>/summarize_relearn.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        relearn_dir=folder("<results>/relearn"),
        eval_dir=folder("<results>/eval"),
        models=study.relearning_models(),
        data=folder("<data>"),
        hp=study.relearning_table_settings(),
        experiment=config["experiment"],
        config=study.result_config(
            "lora", "finetuning", "oracle", "unlearning", "evaluation", "relearning"
        ),
    message:
        "Summarising the relearning attack"
    shell:
        "python {input.script:q} --relearn-dir {params.relearn_dir:q}"
        " --eval-dir {params.eval_dir:q} --models {params.models:q}"
        " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
        " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
        " > {log:q} 2>&1"


for where, suffix, remark, models in study.tables_of("states"):

    rule:
        """Summarise the drift at the last layer, at one layer, or (repr_layers) at all layers."""
        name:
            f"summarize_representations{suffix}"
        input:
            collect("<results>/repr/{model}/items.jsonl", model=models),
            script="workflow_scripts/summarize_representations.py",
            lib=library_of("summarize_representations", unread=["wrong_details"]),
            report="<results>/data_report.json",
            asked=ASKED,
            utility=UTILITY,
        output:
            report(f"<results>/{where}{{table}}.json", **place_of_layers(where)),
        log:
            f"<logs>/{where}summarize_representations/{{table}}.log",
        benchmark:
            f"<benchmarks>/{where}summarize_representations/{{table}}.jsonl"
        wildcard_constraints:
            table=r"repr_(layers|results|results_\d+)",
        conda:
            "../envs/analysis.yaml"
        resources:
            mem_mb=per_attempt(2000),
            runtime=per_attempt(30),
            gpu=0,
        params:
            repr_dir=folder("<results>/repr"),
            models=models,
            data=folder("<data>"),
            hp=study.drift_settings,
            experiment=config["experiment"],
            config=study.table_config(where, "evaluation", "representations"),
        message:
            f"Summarising hidden states: {{wildcards.table}}{remark}"
        shell:
            "python {input.script:q} --repr-dir {params.repr_dir:q} --models {params.models:q}"
            " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
            " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
            " > {log:q} 2>&1"


rule summarize_depth:
    """Summarise how deep erasure goes: patching, logit lens and probes."""
    input:
        collect(
            "<results>/depth/{model}/{file}",
            model=study.depth_models(),
            file=["items.jsonl", "probes.jsonl"],
        ),
        script="workflow_scripts/summarize_depth.py",
        lib=library_of("summarize_depth", unread=["wrong_details"]),
        report="<results>/data_report.json",
        asked=ASKED,
        utility=UTILITY,
    output:
        report("<results>/depth_results.json", **place_of("depth_results", "table")),
    log:
        "<logs>/summarize_depth.log",
    benchmark:
        "<benchmarks>/summarize_depth.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        depth_dir=folder("<results>/depth"),
        models=study.depth_models(),
        data=folder("<data>"),
        hp=study.depth_table_settings(),
        experiment=config["experiment"],
        config=study.result_config(
            "lora", "finetuning", "oracle", "unlearning", "evaluation", "representations"
        ),
    message:
        "Summarising the depth of erasure"
    shell:
        "python {input.script:q} --depth-dir {params.depth_dir:q} --models {params.models:q}"
        " --data {params.data:q} --utility {input.utility:q} --hp {params.hp:q}"
        " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
        " > {log:q} 2>&1"


rule summarize_findings:
    """Judge the claims about unlearning by the tables of this study, and of named other studies."""
    input:
        [file for _, file in study.other_findings()],
        script="workflow_scripts/summarize_findings.py",
        lib=library_of("summarize_findings", unread=RECORDS),
        tables=study.judged_tables(),
    output:
        report("<results>/findings.json", **place_of("findings", "table")),
    log:
        "<logs>/summarize_findings.log",
    benchmark:
        "<benchmarks>/summarize_findings.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        others=study.replications_argument(),
        hp=study.finding_settings(),
        experiment=config["experiment"],
        config=study.result_config(
            *("lora", "finetuning", "oracle", "unlearning", "evaluation"),
            *("quantization", "relearning", "representations"),
        ),
    message:
        "Judging the claims"
    shell:
        "python {input.script:q} --tables {input.tables:q} {params.others} --hp {params.hp:q}"
        " --experiment {params.experiment:q} --config {params.config:q} --out {output:q}"
        " > {log:q} 2>&1"
