"""Pictures of the tables.

Needs: <results>/*.json. Makes: <results>/*.png.
"""


rule plot_forget_vs_retain:
    """Forgetting against retention, every checkpoint."""
    input:
        script="workflow_scripts/plot_forget_vs_retain.py",
        lib=library_of("plot_forget_vs_retain", unread=["result"]),
        rows="<results>/sweep_results.json",
    output:
        "<results>/forget_vs_retain.png",
    log:
        "<logs>/plot_forget_vs_retain.log",
    benchmark:
        "<benchmarks>/plot_forget_vs_retain.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    message:
        "Plotting forget_vs_retain"
    shell:
        "python {input.script:q} --rows {input.rows:q} --out {output:q} > {log:q} 2>&1"


rule plot_retain_gap:
    """Correlated against other retain facts along unlearning."""
    input:
        script="workflow_scripts/plot_retain_gap.py",
        lib=library_of("plot_retain_gap", unread=["result"]),
        rows="<results>/retain_compare_results.json",
    output:
        "<results>/retain_gap.png",
    log:
        "<logs>/plot_retain_gap.log",
    benchmark:
        "<benchmarks>/plot_retain_gap.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    message:
        "Plotting retain_gap"
    shell:
        "python {input.script:q} --rows {input.rows:q} --out {output:q} > {log:q} 2>&1"


rule plot_quantize_recovery:
    """What quantization brings back."""
    input:
        script="workflow_scripts/plot_quantize_recovery.py",
        lib=library_of("plot_quantize_recovery", unread=["result"]),
        rows="<results>/quantize_results.json",
    output:
        "<results>/quantize_recovery.png",
    log:
        "<logs>/plot_quantize_recovery.log",
    benchmark:
        "<benchmarks>/plot_quantize_recovery.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    message:
        "Plotting quantize_recovery"
    shell:
        "python {input.script:q} --rows {input.rows:q} --out {output:q} > {log:q} 2>&1"


rule plot_layerdrift_by_epoch:
    """Drift of hidden states, layer by layer, as unlearning goes on."""
    input:
        script="workflow_scripts/plot_layerdrift_by_epoch.py",
        lib=library_of("plot_layerdrift_by_epoch", unread=["result"]),
        rows="<results>/repr_layers.json",
    output:
        "<results>/layerdrift_by_epoch.png",
    log:
        "<logs>/plot_layerdrift_by_epoch.log",
    benchmark:
        "<benchmarks>/plot_layerdrift_by_epoch.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    message:
        "Plotting layerdrift_by_epoch"
    shell:
        "python {input.script:q} --rows {input.rows:q} --out {output:q} > {log:q} 2>&1"


rule plot_layerdrift_by_method:
    """Drift of hidden states, layer by layer, method beside method."""
    input:
        script="workflow_scripts/plot_layerdrift_by_method.py",
        lib=library_of("plot_layerdrift_by_method", unread=["result"]),
        rows="<results>/repr_layers.json",
    output:
        "<results>/layerdrift_by_method.png",
    log:
        "<logs>/plot_layerdrift_by_method.log",
    benchmark:
        "<benchmarks>/plot_layerdrift_by_method.jsonl"
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    message:
        "Plotting layerdrift_by_method"
    shell:
        "python {input.script:q} --rows {input.rows:q} --out {output:q} > {log:q} 2>&1"
