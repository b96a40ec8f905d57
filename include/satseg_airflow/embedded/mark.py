"""The mark of an embedded Airflow."""

MARK = "SATSEG_EMBEDDED"  # every process of an embedded Airflow carries its folder in this variable
