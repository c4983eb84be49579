from ml import california_housing


def model(dbt, session):
    dbt.config(materialized="table")
    return california_housing.load(session)
