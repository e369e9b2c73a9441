SELECT r.workflow, r.owner::oid, r.completed, r.failed FROM wf_internal.retention_rules r
