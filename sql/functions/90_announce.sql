SET LOCAL search_path = @extschema@, pg_temp;
-- Last: once this transaction commits, the launcher starts a scheduler here.
SELECT wf_internal.announce();
