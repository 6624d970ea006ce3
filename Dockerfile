# Two targets. What you mount at /work holds data and results, which -u makes yours; the rest of the command line is as
# without Docker:
#   docker build --target cpu -t unet .
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD/work:/work" unet train.py WORK_DIR=/work MODEL.TYPE=unet3plus
#   docker build --target gpu -t unet-gpu .              # NVIDIA; needs the NVIDIA Container Toolkit to run
#   docker run --rm --gpus all -u "$(id -u):$(id -g)" -v "$PWD/work:/work" unet-gpu train.py WORK_DIR=/work MODEL.TYPE=unet3plus
FROM python:3.12-slim-bookworm AS base
ENV HOME=/tmp PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
COPY requirements*.txt constraints.txt ./

FROM base AS gpu
# The CUDA libraries come with TensorFlow; only the driver is the host's.
RUN pip install -r requirements.txt "tensorflow[and-cuda]" -c constraints.txt
COPY . .
ENTRYPOINT ["python"]
CMD ["train.py", "--help"]

# The last one is built when no target is named.
FROM base AS cpu
RUN pip install -r requirements.txt -c constraints.txt
COPY . .
ENTRYPOINT ["python"]
CMD ["train.py", "--help"]
