"""The benchmark from the user's own files (generation.backend: files).

Needs: sf.jsonl and sr.jsonl in generation.folder, and maybe forget_paraphrased.jsonl and holdout.jsonl.
Makes: <data>/{sf,sr,wrong_details,forget_paraphrased,holdout}.jsonl, <results>/data_report.json.

Every edit of a file runs this short job again. Snakemake then skips jobs whose inputs stay the same.
"""


rule read_own_files:
    """Check your own questions and answers, and write the files of the benchmark."""
    input:
        study.own_paths(),
        script="workflow_scripts/read_own_files.py",
        lib=library_of("read_own_files", unread=["result"]),
    output:
        collect("<data>/{name}.jsonl", name=[*DATA_FILES, "holdout"]),
        report="<results>/data_report.json",
    log:
        "<logs>/read_own_files.log",
    benchmark:
        "<benchmarks>/read_own_files.jsonl"
    priority: 100
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        folder=config["generation"]["folder"],
        out_dir=subpath(output[0], parent=True),
        experiment=config["experiment"],
        config=study.result_config(),
    message:
        "Reading your own files"
    shell:
        "python {input.script:q} --folder {params.folder:q} --out-dir {params.out_dir:q}"
        " --experiment {params.experiment:q} --config {params.config:q} --report {output.report:q}"
        " > {log:q} 2>&1"
