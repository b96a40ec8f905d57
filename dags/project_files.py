"""No DAG: shows a broken project file as an import error in Airflow's UI, while the other projects go on."""

from satseg_airflow.projects import check_project_files

check_project_files()
