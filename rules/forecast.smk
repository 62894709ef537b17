"""A forecast of the damage before any unlearning, and its score afterwards.

Needs: base model, finetuned adapter, the benchmark; for the score <results>/eval/.
Makes: <results>/forecast.jsonl, <results>/forecast_results.json.
"""


rule forecast_damage:
    """Compare gradients and hidden states of retain facts with those of forget facts."""
    input:
        study.base_files(),
        study.adapter_of("finetuned"),
        collect("<data>/{name}.jsonl", name=["sf", "sr"]),
        script="workflow_scripts/forecast_damage.py",
        lib=library_of("forecast_damage", unread=["wrong_details", "forget_paraphrased", "utility"]),
    output:
        "<results>/forecast.jsonl",
    log:
        "<logs>/forecast_damage.log",
    benchmark:
        "<benchmarks>/forecast_damage.jsonl"
    conda:
        "../envs/model.yaml"
    threads: config["resources"]["threads"]
    resources:
        mem_mb=memory("gradients"),
        runtime=walltime("forecast_damage"),
        gpu=config["resources"]["gpu"],
    params:
        base=folder(study.base_folder()),
        adapter=folder("<results>/models/finetuned"),
        data=folder("<data>"),
        hp=study.forecast_settings(),
    message:
        "Forecasting the damage"
    shell:
        "python {input.script:q} --base {params.base:q} --adapter {params.adapter:q}"
        " --data {params.data:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule score_forecast:
    """Score the forecast: compare it with the damage at the levels of unlearning."""
    input:
        collect(
            "<results>/eval/{model}/items.jsonl",
            model=["finetuned", *study.level_checkpoints()],
        ),
        script="workflow_scripts/score_forecast.py",
        lib=library_of("score_forecast", unread=["wrong_details"]),
        forecast="<results>/forecast.jsonl",
        report="<results>/data_report.json",
        asked=ASKED,
        utility=UTILITY,
    output:
        report("<results>/forecast_results.json", **place_of("forecast_results", "table")),
    log:
        "<logs>/score_forecast.log",
    benchmark:
        "<benchmarks>/score_forecast.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(60),
        gpu=0,
    params:
        eval_dir=folder("<results>/eval"),
        models=study.level_checkpoints(),
        data=folder("<data>"),
        hp=study.score_settings(),
        experiment=config["experiment"],
        config=study.result_config("lora", "finetuning", "unlearning", "evaluation"),
    message:
        "Scoring the forecast"
    shell:
        "python {input.script:q} --forecast {input.forecast:q} --eval-dir {params.eval_dir:q}"
        " --models {params.models:q} --data {params.data:q} --utility {input.utility:q}"
        " --hp {params.hp:q} --experiment {params.experiment:q} --config {params.config:q}"
        " --out {output:q} > {log:q} 2>&1"
