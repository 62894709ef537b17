"""Running on SLURM.

Before the first job `start` checks what must hold: what jobs ask for (`job_request`), what the
plugin makes of it (`submission_check`), who pays (`accounts`), what a node sees (`probe`).
`commands` asks SLURM through its own programs. `client` and `job_tracker` stand between Snakemake,
its plugin and SLURM. `watch` reports what a run waits for, `folders` a file system that does not
answer; `sigint` handles Ctrl-C.
"""
