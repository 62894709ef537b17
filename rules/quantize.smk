"""The quantization stress test: does INT8 or INT4 recover forgotten facts?

Needs: base model, adapters below <results>/models/, the benchmark, data/inputs/utility_qa.jsonl.
Makes: <results>/quantize/{model}/{precision}.jsonl, {precision}.parquet and weights.json.
"""


rule quantize:
    """Merge a model, quantize it once per precision, and evaluate it.

    The job also reads the finetuned adapter, to compare its codes with those of the model.
    """
    input:
        study.base_files(),
        study.adapters,
        study.finetuned_beside,
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
        model=r"finetuned|oracle/seed_\d+|unlearn/.+",
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
        out_dir=folder("<results>/quantize"),
        models="{model}",
        precisions=study.recorded_precisions,
    message:
        "Quantizing {wildcards.model}"
    shell:
        "python {input.script:q} --base {params.base:q} --data {params.data:q}"
        " --utility {input.utility:q} --hp {params.hp:q} --models-dir {params.models_dir:q}"
        " --out-dir {params.out_dir:q} --models {params.models:q}"
        " --precisions {params.precisions:q} > {log:q} 2>&1"
