"""The report: the whole study in one page that opens without a network.

Needs: all tables, the records of answers, training logs, the exported dataset. Makes: <results>/report.html.
"""


rule report:
    """Put verdicts, figures, answers and tables into one file of HTML."""
    input:
        script="workflow_scripts/report.py",
        lib=library_of("report", unread=RECORDS),
        tables=study.shown_tables(),
        control=study.shown_controls(),
        answers=collect("<results>/eval/{model}/items.jsonl", model=study.models_in("")),
        quantized=collect(
            "<results>/quantize/{model}/{precision}.jsonl",
            model=study.models_in("", "quantized"),
            precision=config["quantization"]["precisions"],
        ),
        relearned=collect(
            "<results>/relearn/{model}/{attack}/step_{step}.jsonl",
            model=study.relearning_models(),
            attack=study.relearning_attacks(),
            step=study.last_relearning_step(),
        ),
        logs=study.trained_logs(),
        data_report="<results>/data_report.json",
        dataset=study.shown_dataset(),
    output:
        report("<results>/report.html", **place_of("report", "page")),
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        control=study.control_argument(),
        eval_dir=folder("<results>/eval"),
        models=study.models_in(""),
        quantize_dir=folder("<results>/quantize"),
        quantized=study.models_in("", "quantized"),
        precisions=config["quantization"]["precisions"],
        relearn_dir=folder("<results>/relearn"),
        attacked=study.relearning_models(),
        attacks=study.relearning_attacks(),
        last_step=study.last_relearning_step(),
        dataset=folder("<results>/dataset") if study.shown_dataset() else [],
        hp=study.report_settings(),
    message:
        "Writing the report"
    shell:
        "python {input.script:q} --tables {input.tables:q} {params.control}"
        " --eval-dir {params.eval_dir:q} --models {params.models:q}"
        " --quantize-dir {params.quantize_dir:q} --quantized {params.quantized:q}"
        " --precisions {params.precisions:q}"
        " --relearn-dir {params.relearn_dir:q} --attacked {params.attacked:q}"
        " --attacks {params.attacks:q} --last-step {params.last_step} --logs {input.logs:q}"
        " --data-report {input.data_report:q} --dataset {params.dataset:q}"
        " --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"
