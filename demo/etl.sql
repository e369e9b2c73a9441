-- The demo: countries and their subdivisions (ISO 3166) from the JSON files of Debian's package iso-codes into tables,
-- one step a country, with an approval by a human before they are published.
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE ROLE etl LOGIN;
ALTER ROLE etl SET search_path = etl, public;
CREATE SCHEMA etl AUTHORIZATION etl;

-- All that needs a superuser: reading two files. The role etl may call this, and may not read anything else.
CREATE FUNCTION etl.iso_file(part text) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF part NOT IN ('3166-1', '3166-2') THEN
        RAISE EXCEPTION 'no such list: %', part USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN pg_read_file(format('/usr/share/iso-codes/json/iso_%s.json', part))::jsonb -> part;
END $$;
REVOKE ALL ON FUNCTION etl.iso_file(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION etl.iso_file(text) TO etl;

SET ROLE etl;
SET search_path = etl, public;

CREATE TABLE source_country (code text, doc jsonb NOT NULL);
CREATE TABLE source_subdivision (code text, country text, doc jsonb NOT NULL);

-- No primary keys, on purpose: a step that ran twice would leave its rows here twice.
CREATE TABLE country (code text NOT NULL, name text NOT NULL, official_name text);
CREATE TABLE subdivision (code text NOT NULL, country text NOT NULL, name text NOT NULL, type text NOT NULL);
CREATE TABLE loaded (
    country         text        NOT NULL,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    pid             integer     NOT NULL DEFAULT pg_backend_pid(),
    server_started  timestamptz NOT NULL DEFAULT pg_postmaster_start_time()
);
CREATE TABLE summary (country text NOT NULL, subdivisions bigint NOT NULL, types text[] NOT NULL);
CREATE TABLE published (at timestamptz NOT NULL DEFAULT now(), approved_by text NOT NULL, countries bigint, subdivisions bigint);

-- The steps: ordinary functions that know nothing of workflows. ---------------------------------------------------------

-- Returns the codes of the countries: recorded, they are the list that the workflow's loop goes through.
CREATE FUNCTION extract_sources() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO source_country
        SELECT c->>'alpha_2', c FROM jsonb_array_elements(iso_file('3166-1')) c;
    INSERT INTO source_subdivision
        SELECT s->>'code', split_part(s->>'code', '-', 1), s FROM jsonb_array_elements(iso_file('3166-2')) s;
    RETURN (SELECT jsonb_agg(code ORDER BY code) FROM source_country);
END $$;

CREATE FUNCTION validate_sources() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    bad text;
BEGIN
    SELECT string_agg(code, ', ') INTO bad FROM (
        SELECT code FROM source_country WHERE code IS NULL OR code !~ '^[A-Z]{2}$' OR doc->>'name' IS NULL
        UNION ALL
        SELECT s.code FROM source_subdivision s LEFT JOIN source_country c ON c.code = s.country
            WHERE c.code IS NULL OR s.doc->>'name' IS NULL OR s.doc->>'type' IS NULL
        UNION ALL
        SELECT code FROM source_country GROUP BY code HAVING count(*) > 1
        UNION ALL
        SELECT code FROM source_subdivision GROUP BY code HAVING count(*) > 1
    ) wrong;
    IF bad IS NOT NULL THEN
        RAISE EXCEPTION 'wrong entries in the source: %', bad USING ERRCODE = 'check_violation';
    END IF;
    RETURN jsonb_build_object('countries', (SELECT count(*) FROM source_country),
                              'subdivisions', (SELECT count(*) FROM source_subdivision));
END $$;

CREATE FUNCTION load_country(country_code text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    subdivisions bigint;
BEGIN
    INSERT INTO country
        SELECT code, doc->>'name', doc->>'official_name' FROM source_country WHERE code = country_code;
    INSERT INTO subdivision
        SELECT code, country, doc->>'name', doc->>'type' FROM source_subdivision WHERE country = country_code;
    GET DIAGNOSTICS subdivisions = ROW_COUNT;
    INSERT INTO loaded (country) VALUES (country_code);
    PERFORM pg_sleep(0.01); -- so that there is time to kill the server between two countries, or within one
    RETURN subdivisions;
END $$;

CREATE FUNCTION aggregate() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    countries bigint;
BEGIN
    INSERT INTO summary
        SELECT c.code, count(s.code), coalesce(array_agg(DISTINCT s.type) FILTER (WHERE s.type IS NOT NULL), '{}')
        FROM country c LEFT JOIN subdivision s ON s.country = c.code
        GROUP BY c.code;
    GET DIAGNOSTICS countries = ROW_COUNT;
    RETURN countries;
END $$;

-- The workflow. --------------------------------------------------------------------------------------------------------

CREATE FUNCTION iso_etl(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    codes        jsonb;
    code         text;
    done         integer := 0;
    subdivisions bigint := 0;
    approval     jsonb;
BEGIN
    codes := wf_step('extract', 'extract_sources');
    PERFORM wf_step('validate', 'validate_sources');

    FOR code IN SELECT jsonb_array_elements_text(codes) LOOP
        subdivisions := subdivisions + wf_step('load ' || code, 'load_country', jsonb_build_object('country_code', code))::bigint;
        done := done + 1;
        IF done % 5 = 0 OR done = jsonb_array_length(codes) THEN
            PERFORM wf_set('progress', jsonb_build_object('done', done, 'of', jsonb_array_length(codes), 'at', code));
        END IF;
    END LOOP;

    PERFORM wf_step('aggregate', 'aggregate');

    approval := wf_wait_signal('approval', timeout => '1 day');
    IF approval IS NULL THEN
        RETURN jsonb_build_object('status', 'not approved in time');
    END IF;

    PERFORM wf_step('publish', $sql$
        INSERT INTO published (approved_by, countries, subdivisions)
            SELECT $1->>'by', count(*), sum(subdivisions) FROM summary $sql$, approval);
    RETURN jsonb_build_object('status', 'published', 'approved_by', approval->'by',
                              'countries', done, 'subdivisions', subdivisions);
END $$;

-- The proof: what the files say against what the tables hold, key by key. -----------------------------------------------

CREATE VIEW proof AS
    WITH expected AS (
        SELECT 'countries' AS what, c->>'alpha_2' AS key FROM jsonb_array_elements(iso_file('3166-1')) c
        UNION ALL
        SELECT 'subdivisions', s->>'code' FROM jsonb_array_elements(iso_file('3166-2')) s
        UNION ALL
        SELECT 'load steps run', c->>'alpha_2' FROM jsonb_array_elements(iso_file('3166-1')) c
        UNION ALL
        SELECT 'publications', 'ISO 3166'
    ), found AS (
        SELECT 'countries' AS what, code AS key FROM country
        UNION ALL
        SELECT 'subdivisions', code FROM subdivision
        UNION ALL
        SELECT 'load steps run', country FROM loaded
        UNION ALL
        SELECT 'publications', 'ISO 3166' FROM published
    ), keys AS (
        SELECT what, key, count(*) FILTER (WHERE wanted) AS wanted, count(*) FILTER (WHERE NOT wanted) AS got
        FROM (SELECT what, key, true AS wanted FROM expected UNION ALL SELECT what, key, false FROM found) both_sides
        GROUP BY what, key
    )
    SELECT what, sum(wanted) AS expected, sum(got) AS found,
           count(*) FILTER (WHERE got < wanted) AS missing, count(*) FILTER (WHERE got > wanted) AS "too many",
           bool_and(got = wanted) AS "exactly once"
    FROM keys GROUP BY what ORDER BY what;

-- Which server process did the work? Two start times: before and after the kill.
CREATE VIEW work_by_server AS
    SELECT date_trunc('milliseconds', server_started) AS "server started", count(*) AS "countries loaded",
           min(country) AS first, max(country) AS last
    FROM loaded GROUP BY server_started ORDER BY server_started;
