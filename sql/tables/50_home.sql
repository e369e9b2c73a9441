SET LOCAL search_path = pg_catalog, pg_temp;
-- Who runs these rows? installation is made by CREATE EXTENSION and never dumped; home is dumped and names the
-- installation (and database) whose workers may run what is here. A restored dump or a database made from a template
-- brings home along but not its installation: workers see the difference and leave the rows alone until wf_adopt().
CREATE TABLE wf_internal.installation (
    only_row    boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    id          uuid        NOT NULL DEFAULT pg_catalog.gen_random_uuid()
);
COMMENT ON TABLE wf_internal.installation IS 'identity of this installation; not dumped';
INSERT INTO wf_internal.installation DEFAULT VALUES;

CREATE TABLE wf_internal.home (
    installation uuid       NOT NULL,
    database    text        NOT NULL,           -- oid as text: a dump must not follow it to the new database
    since       timestamptz NOT NULL DEFAULT now()
);
-- No key: two first starts at once must not wait for each other, and two equal rows say no more than one.
COMMENT ON TABLE wf_internal.home IS 'installation whose workers may run the rows of this database';
SELECT pg_catalog.pg_extension_config_dump('wf_internal.home', '');
