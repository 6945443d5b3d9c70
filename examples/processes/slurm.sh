#!/bin/bash
#SBATCH --job-name=legato-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --requeue

# One process a node. If one is lost, all end, Slurm puts the job into the queue again, and the
# training continues from its backup.
set -euo pipefail
export KERAS_DISTRIBUTION_JOB_ADDRESSES="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):1234"
export KERAS_DISTRIBUTION_NUM_PROCESSES="$SLURM_NTASKS"
srun --kill-on-bad-exit=1 bash -c \
    'KERAS_DISTRIBUTION_PROCESS_ID="$SLURM_PROCID" exec python train.py "$SLURM_SUBMIT_DIR/run"' ||
    scontrol requeue "$SLURM_JOB_ID"
