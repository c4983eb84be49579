from ml.recipes import surroundings


def model(dbt, session):
    dbt.config(materialized="table")
    return surroundings.nearest(
        dbt.ref("housing_features"),
        key="block_group_id",
        latitude="latitude",
        longitude="longitude",
        columns={
            "median_income_usd": "median_income_usd",
            "house_age_years": "house_age_years",
            # a few resorts and prisons have hundreds a household, which would be all that a mean says
            "rooms_per_household": "least(rooms_per_household, 10)",
            "bedrooms_per_room": "bedrooms_per_room",
            "people_per_household": "least(people_per_household, 6)",
            "population": "population",
        },
        compared=["median_income_usd"],
        counts=[5, 20, 50, 200],
    )
