# The page of genmend in a container, with the models that its tabs open on.
#   docker build -t genmend .
#   docker run --rm --network host genmend
# The server listens on the loopback of the machine alone, so the container shares the machine's network.
FROM python:3.12-slim

RUN useradd --create-home genmend
COPY . /genmend
# torch without CUDA comes from its own index: --build-arg TORCH_INDEX=... is handed to pip.
ARG TORCH_INDEX=""
RUN apt-get update && apt-get install --yes --no-install-recommends g++ espeak-ng \
    && pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        -c /genmend/constraints.txt "/genmend[ui,explain,diffusion,tts]" \
    && apt-get purge --yes --auto-remove g++ && rm -rf /var/lib/apt/lists/* /genmend

USER genmend
WORKDIR /home/genmend
RUN genmend fetch faces efficientnet-lite0 mobilenet-v2 joe
CMD ["genmend", "serve", "--out", "served"]
