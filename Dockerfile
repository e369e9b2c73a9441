# PostgreSQL with pg_workflow, preloaded: docker build -t pg_workflow . && docker run -e POSTGRES_PASSWORD=... pg_workflow
ARG PG_MAJOR=15
ARG BASE=postgres:${PG_MAJOR}-bookworm

FROM ${BASE} AS build
ARG PG_MAJOR
ENV PG_CONFIG=/usr/lib/postgresql/${PG_MAJOR}/bin/pg_config PATH=/root/.cargo/bin:$PATH
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl make
WORKDIR /src
# Tools first: this layer stays as long as the versions in Cargo.toml do.
COPY Cargo.toml ./
COPY scripts ./scripts
RUN scripts/setup.sh build
COPY . .
RUN make install

FROM ${BASE}
ARG PG_MAJOR
COPY --from=build /usr/lib/postgresql/${PG_MAJOR}/lib/pg_workflow.so /usr/lib/postgresql/${PG_MAJOR}/lib/
COPY --from=build /usr/share/postgresql/${PG_MAJOR}/extension/pg_workflow* /usr/share/postgresql/${PG_MAJOR}/extension/
# -h: over TCP, since the server that the image starts to set itself up listens on its socket only.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=5 CMD ["pg_isready", "-q", "-h", "127.0.0.1"]
CMD ["postgres", "-c", "shared_preload_libraries=pg_workflow"]
