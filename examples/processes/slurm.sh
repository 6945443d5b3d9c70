#!/bin/bash
#SBATCH --job-name=legato-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --requeue

# One process a node. If one is lost, all end, Slurm puts the job into the queue again, and the
# training continues from its backup.
set -euo pipefail
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
srun --kill-on-bad-exit=1 \
    legato run --coordinator "$first:1234" --processes "$SLURM_NTASKS" \
    train.py "$SLURM_SUBMIT_DIR/run" ||
    scontrol requeue "$SLURM_JOB_ID"
