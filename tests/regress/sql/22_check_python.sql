-- Needs plpython3u.
CREATE EXTENSION plpython3u;
CREATE FUNCTION snake(input jsonb) RETURNS jsonb LANGUAGE plpython3u AS $$ return plpy.execute("SELECT now()") $$;
SELECT * FROM wf_check('snake');
