SELECT d.def_id, d.workflow FROM wf_internal.definitions d
