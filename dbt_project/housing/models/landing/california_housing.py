from importlib import import_module


def model(dbt, session):
    dbt.config(materialized="table")
    return import_module(dbt.config.meta_get("source")).load(session)
