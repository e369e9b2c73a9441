SET LOCAL search_path = pg_catalog, pg_temp;
-- Read off the catalogue, so that DROP TABLE, renames and a restored dump need no thought. A trigger of wf_on has four
-- arguments: the mark, workflow, input, id. tgargs ends each with a NUL byte; 'escape' shows NUL as \000 and \ as \\.
CREATE VIEW wf.triggers WITH (security_barrier) AS
    SELECT t.tgrelid::pg_catalog.regclass AS "table", t.tgname AS name,
           pg_catalog.concat_ws(' or ',
               CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END,
               CASE WHEN t.tgtype & 16 <> 0 THEN
                   'update' || coalesce((SELECT ' of ' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY c.i)
                                         FROM pg_catalog.unnest(t.tgattr::pg_catalog.int2[]) WITH ORDINALITY AS c(attnum, i)
                                         JOIN pg_catalog.pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum = c.attnum), '') END,
               CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END) AS event,
           g.args[2] AS workflow,
           pg_catalog.substring(pg_catalog.pg_get_triggerdef(t.oid), 'FOR EACH ROW WHEN \((.*)\) EXECUTE FUNCTION') AS "when",
           g.args[3] AS input, nullif(g.args[4], '') AS id,
           p.proowner::pg_catalog.regrole AS owner, t.tgenabled <> 'D' AS enabled
    FROM pg_catalog.pg_trigger t
    JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
    CROSS JOIN LATERAL (
        SELECT pg_catalog.array_agg(pg_catalog.convert_from(pg_catalog.decode(pg_catalog.replace(x.escaped, E'\x01', E'\\\\'), 'escape'),
                                                            pg_catalog.getdatabaseencoding()) ORDER BY x.i) AS args
        FROM pg_catalog.unnest(pg_catalog.string_to_array(
                 pg_catalog.replace(pg_catalog.encode(t.tgargs, 'escape'), E'\\\\', E'\x01'), E'\\000')) WITH ORDINALITY AS x(escaped, i)
    ) g
    WHERE t.tgnargs = 4 AND NOT t.tgisinternal AND t.tgparentid = 0
      AND g.args[1] = 'pg_workflow' AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(p.proowner, 'USAGE'));
COMMENT ON VIEW wf.triggers IS 'workflows that changes of tables start, as wf_on has set them up';

GRANT SELECT ON wf.triggers TO PUBLIC;
