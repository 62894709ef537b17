"""Plots of the result tables.

Needs: <results>/*.json. Makes: <results>/*.png.
"""


rule plot_forget_vs_retain:
    """Plot forgetting against retention, for every checkpoint."""
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
    params:
        hp=plot_settings(),
    message:
        "Plotting forget_vs_retain"
    shell:
        "python {input.script:q} --rows {input.rows:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule plot_retain_gap:
    """Plot correlated against other retain facts during unlearning."""
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
    params:
        hp=plot_settings(),
    message:
        "Plotting retain_gap"
    shell:
        "python {input.script:q} --rows {input.rows:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule plot_quantize_recovery:
    """Plot how much quantization recovers."""
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
    params:
        hp=plot_settings(),
    message:
        "Plotting quantize_recovery"
    shell:
        "python {input.script:q} --rows {input.rows:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule plot_layerdrift_by_epoch:
    """Plot the drift of hidden states by layer and epoch."""
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
    params:
        hp=plot_settings(),
    message:
        "Plotting layerdrift_by_epoch"
    shell:
        "python {input.script:q} --rows {input.rows:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"


rule plot_layerdrift_by_method:
    """Plot the drift of hidden states by layer and method."""
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
    params:
        hp=plot_settings(),
    message:
        "Plotting layerdrift_by_method"
    shell:
        "python {input.script:q} --rows {input.rows:q} --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"
