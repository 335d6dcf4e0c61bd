# The page of genmend in a container, with the models that its tabs open on.
#   docker build -t genmend .
#   docker run --rm --network host genmend
# The server listens on the loopback of the machine alone, so the container shares the machine's network.
FROM python:3.12-slim

COPY . /genmend
RUN apt-get update && apt-get install --yes --no-install-recommends g++ espeak-ng \
    && pip install --no-cache-dir -c /genmend/constraints.txt "/genmend[ui,explain,diffusion,tts]" \
    && apt-get purge --yes --auto-remove g++ && rm -rf /var/lib/apt/lists/* /genmend

RUN useradd --create-home --home-dir /work genmend
USER genmend
WORKDIR /work
RUN genmend fetch faces efficientnet-lite0 mobilenet-v2 joe
CMD ["genmend", "serve", "--out", "served"]
