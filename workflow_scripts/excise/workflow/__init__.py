"""Library of the Snakefile: inputs, resources, records of jobs, checks before the first job.

`imports` lists the code that a program depends on. `resources` estimates memory and walltime.
`job_records` writes the record of each job (`excise.provenance` holds the format), and
`result_checks` compares results with these records. `preflight`, `model_check` and `model_verdicts`
check the base model. `unchanged`, `planning` and `patterns` make Snakemake do less work.
"""
