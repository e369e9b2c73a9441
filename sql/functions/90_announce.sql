-- Last: once this transaction commits, the launcher starts a scheduler here.
SELECT wf_internal.announce();
