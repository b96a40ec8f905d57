"""Names of Airflow pools."""

GPU_POOL = "gpu"  # max(1, number of GPUs) slots; made when Airflow is set up
