"""Evaluated models as files of open-unlearning's evaluator for TOFU, on request.

Needs: records of answers, the benchmark, data/inputs/utility_qa.jsonl. Makes: <results>/open_unlearning/{model}/.
"""


rule export_open_unlearning:
    """Write an evaluated model in the files of open-unlearning's evaluator for TOFU."""
    input:
        study.records_of_exported,
        collect("<data>/{name}.jsonl", name=DATA_FILES),
        script="workflow_scripts/export_open_unlearning.py",
        lib=library_of("export_open_unlearning"),
        holdout=HOLDOUT,
        utility=UTILITY,
    output:
        "<results>/open_unlearning/{model}/TOFU_EVAL.json",
        "<results>/open_unlearning/{model}/TOFU_SUMMARY.json",
        "<results>/open_unlearning/{model}/LEFT_OUT.json",
    log:
        "<logs>/export_open_unlearning/{model}.log",
    benchmark:
        "<benchmarks>/export_open_unlearning/{model}.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(30),
        gpu=0,
    params:
        eval_dir=folder("<results>/eval"),
        data=folder("<data>"),
        retain=study.retain_argument,
        tokens=config["evaluation"]["max_new_tokens"],
        out=subpath(output[0], parent=True),
    message:
        "Exporting {wildcards.model} for open-unlearning"
    shell:
        "python {input.script:q} --eval-dir {params.eval_dir:q} --model {wildcards.model:q}"
        " {params.retain} --data {params.data:q} --utility {input.utility:q}"
        " --max-new-tokens {params.tokens} --out-dir {params.out:q} > {log:q} 2>&1"
