from dbt_project.housing import source as california_housing


def model(dbt, session):
    dbt.config(materialized="table")
    return california_housing.load(session)
