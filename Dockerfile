# The server as a small image: no shell, no root. Built from the sources beside this file:
#   docker build -t icecore .
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin icecore

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/icecore /usr/local/bin/icecore
# The volume is made with the owner that the server runs as.
COPY --from=build --chown=nonroot:nonroot /src/LICENSE-MIT /data/.keep/LICENSE-MIT
ENV ICECORE_LISTEN=0.0.0.0:2113 \
    ICECORE_DATA=/data/store \
    ICECORE_SERVER=http://127.0.0.1:2113
VOLUME /data
EXPOSE 2113
USER nonroot
# Exit code 5 says that the server cannot be reached.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/icecore", "stats", "--output", "json"]
ENTRYPOINT ["/usr/local/bin/icecore"]
CMD ["serve"]
