"""Plots of the result tables.

Needs: <results>/*.json. Makes: <results>/*.png.
"""


rule plot:
    """One figure of `excise.plots.figures`; it depends on its table alone."""
    input:
        script="workflow_scripts/plot.py",
        lib=study.figure_library,
        rows=study.figure_table,
    output:
        report("<results>/{figure}.png", **place_of_figures()),
    log:
        "<logs>/plot/{figure}.log",
    benchmark:
        "<benchmarks>/plot/{figure}.jsonl"
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../envs/analysis.yaml"
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
        gpu=0,
    params:
        hp=study.plot_settings(),
    message:
        "Plotting {wildcards.figure}"
    shell:
        "python {input.script:q} --figure {wildcards.figure:q} --rows {input.rows:q}"
        " --hp {params.hp:q} --out {output:q} > {log:q} 2>&1"
