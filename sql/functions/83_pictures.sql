SET LOCAL search_path = @extschema@, pg_temp;
-- Instances and workflows as pictures.

CREATE FUNCTION wf_internal.timeline_text(id text, width integer, depth integer, run integer) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_timeline_text';
COMMENT ON FUNCTION wf_internal.timeline_text(text, integer, integer, integer) IS 'the lines of wf_timeline in one text';

CREATE FUNCTION wf_timeline(
    id    text,
    width integer DEFAULT 100,
    depth integer DEFAULT 2,
    run   integer DEFAULT NULL
) RETURNS SETOF text
    LANGUAGE sql
    BEGIN ATOMIC
        SELECT t.line
        FROM pg_catalog.string_to_table(
            wf_internal.timeline_text(wf_timeline.id, wf_timeline.width, wf_timeline.depth, wf_timeline.run), E'\n') AS t(line);
    END;
COMMENT ON FUNCTION wf_timeline(text, integer, integer, integer) IS
'Draws what an instance has done over time, one line a row, for psql; \watch makes it a live view. Each call has a bar: queued, running, retried (attempts and the waits between them: when each attempt was is not recorded), waiting. Stretches in which nothing runs, begins or ends, and which are so long that the rest could not be seen, are cut and marked as such. Rounds of a loop that are alike, and the middle of long histories, are folded. width: columns, from 40 to 1000; no line is longer. depth: of children within children, from 0 to 50. run: its number, of an id that has several; NULL: the open or last one. Errors: 42704 unknown id or run, 42501 not yours, 22023 wrong width or depth.';

CREATE FUNCTION wf_timeline_svg(
    id    text,
    depth integer DEFAULT 2,
    run   integer DEFAULT NULL
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_timeline_svg';
COMMENT ON FUNCTION wf_timeline_svg(text, integer, integer) IS
'The picture of wf_timeline as an SVG document that needs nothing else: no script, no font, light or dark as the viewer''s preference is. depth, run: as in wf_timeline. Errors: as wf_timeline.';

CREATE FUNCTION wf_graph(
    id_or_workflow text,
    format         text    DEFAULT 'mermaid',
    depth          integer DEFAULT 2,
    run            integer DEFAULT NULL
) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_graph';
COMMENT ON FUNCTION wf_graph(text, text, integer, integer) IS
'Draws an instance as it went: what overlapped in time stands side by side, children and maps are subgraphs, colours show how each call has ended. If there is no instance of this id, it draws the workflow of this name: from the histories of its last 100 instances that you may see, with how often one call came behind another; if there are none, from the source of the function, whose calls are then joined by dashed lines in the order of the text. format: mermaid or dot (Graphviz). depth, run: of an instance, as in wf_timeline. Errors: 42704 neither instance nor workflow, or unknown run, 42501 not yours, 42725 several functions of that name, 22023 wrong format or depth.';
