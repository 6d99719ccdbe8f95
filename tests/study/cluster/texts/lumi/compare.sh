#!/bin/bash

# Parameters
#SBATCH --account=project_465000000
#SBATCH --cpus-per-task=4
#SBATCH --dependency='afterany:<prepare>:<evaluate>:<train>:<evaluate-2>'
#SBATCH --error=/scratch/runs/paper/.submitit/%j/%j_0_log.err
#SBATCH --job-name=paper-compare
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mem=8GB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/scratch/runs/paper/.submitit/%j/%j_0_log.out
#SBATCH --partition=small
#SBATCH --requeue
#SBATCH --signal=USR2@60
#SBATCH --time=60
#SBATCH --wckey=submitit

# setup
export TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS=1
export GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=268435456
export PYTHONSAFEPATH=1
export PYTHONPATH=/scratch/runs/paper/.jobs/code${PYTHONPATH:+:$PYTHONPATH}
export CPT_AGAIN=/scratch/runs/paper/.submitit/again-$SLURM_JOB_ID
# What is set here has its reasons and sources in conf/hardware/lumi.yaml.
# LUMI's file systems and network inside the image, and none of the modules of the shell that submitted.
module purge
module use /appl/local/laifs/modules
module load lumi-aif-singularity-bindings
# Ours before the image's, so that a package both have is ours; torch and its kernels only the image has.
export SINGULARITYENV_PREPEND_PATH=/user-software/bin
export SINGULARITYENV_PYTHONPATH=$PYTHONPATH:/user-software/lib/python3.12/site-packages:/opt/venv/lib/python3.12/site-packages
# Packages in the home folder stay out: they were installed for another Python, or another torch.
export PYTHONNOUSERSITE=1
# Home folders hold 20 GB; a model is 16.
[ -n "$HF_HOME" ] || export HF_HOME=/scratch/$SLURM_JOB_ACCOUNT/$USER/huggingface
export TORCH_HOME=/scratch/$SLURM_JOB_ACCOUNT/$USER/torch XDG_CACHE_HOME=/scratch/$SLURM_JOB_ACCOUNT/$USER/cache
# Since SLURM 22.05 srun no longer takes this from sbatch, and a process would get one core.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /scratch/runs/paper/.submitit/%j/%j_%t_log.out --error /scratch/runs/paper/.submitit/%j/%j_%t_log.err --kill-on-bad-exit=1 singularity exec -B /projappl/project_465000000/cpt-study/venv.sqsh:/user-software:image-src=/ /appl/local/laifs/containers/lumi-multitorch-u24r64f21m43t29-20260319_153422/lumi-multitorch-full-u24r64f21m43t29-20260319_153422.sif python -u -m submitit.core._submit /scratch/runs/paper/.submitit/%j


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
