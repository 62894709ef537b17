"""Run the study on SLURM.

Before the first job, `start` runs all checks: the resources that jobs request (`job_request`), the
plugin's own checks (`submission_check`), the accounts (`accounts`), and what a compute node sees
(`probe`). `commands` queries SLURM with its own programs. `client` and `job_tracker` stand between
Snakemake, its plugin and SLURM. `watch` reports what a run waits for. `folders` reports a file
system that does not answer. `sigint` handles Ctrl-C.
"""
