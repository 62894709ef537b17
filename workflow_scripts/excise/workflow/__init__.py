"""What the Snakefile needs: inputs, resources, records of jobs, checks before the first job."""
