"""The checks of ``brain-otel doctor``, one file each; :mod:`brain_otel.doctor.diagnosis` runs them."""
