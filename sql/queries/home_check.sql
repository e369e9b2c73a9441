SELECT wf_internal.is_home()
