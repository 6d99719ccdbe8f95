#!/bin/bash

# Parameters
#SBATCH --account=project_465000000
#SBATCH --array=0-35%16
#SBATCH --cpus-per-task=8
#SBATCH --dependency='aftercorr:<train>'
#SBATCH --error=/scratch/runs/paper/.submitit/%A_%a/%A_%a_0_log.err
#SBATCH --gpus-per-node=1
#SBATCH --job-name=paper-evaluate-2
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/scratch/runs/paper/.submitit/%A_%a/%A_%a_0_log.out
#SBATCH --requeue
#SBATCH --signal=USR2@1200
#SBATCH --time=1440
#SBATCH --wckey=submitit

# setup
export TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS=1
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=268435456
export PYTHONSAFEPATH=1
export PYTHONPATH=/scratch/runs/paper/.jobs/code${PYTHONPATH:+:$PYTHONPATH}
export CPT_AGAIN=/scratch/runs/paper/.submitit/again-$SLURM_JOB_ID
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
export HF_HUB_OFFLINE=1

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /scratch/runs/paper/.submitit/%A_%a/%A_%a_%t_log.out --error /scratch/runs/paper/.submitit/%A_%a/%A_%a_%t_log.err --kill-on-bad-exit=1 python -u -m submitit.core._submit /scratch/runs/paper/.submitit/%j


# teardown
code=$?
if [ -e "$CPT_AGAIN" ]; then
    rm -f "$CPT_AGAIN"
    # Not what was cancelled meanwhile. An array's last element has its number, by which all of it is shown.
    case "$(scontrol show job --oneliner "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID ")" in
        *JobState=RUNNING* | *JobState=SIGNALING*) scontrol requeue "$SLURM_JOB_ID" && sleep 600 ;;
    esac
fi
exit $code
