-- $1 workflow
SELECT true FROM wf_internal.definitions d WHERE d.workflow = $1 LIMIT 1
