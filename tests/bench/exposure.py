"""The exposure of the bench: the project's own features, judged by group, the penalty chosen over the folds."""

from ml.exposures import Exposure
from ml.spec import Spec

EXPOSURE = Exposure(
    name="bench",
    owner="The bench",
    owner_email=None,
    description="What `make bench` learns.",
    unique_id="model.tract.housing_features",
    relation="features.housing_features",
    columns={
        "block_group_id": "VARCHAR",
        "median_income_usd": "DOUBLE",
        "house_age_years": "DOUBLE",
        "rooms_per_household": "DOUBLE",
        "bedrooms_per_household": "DOUBLE",
        "bedrooms_per_room": "DOUBLE",
        "people_per_household": "DOUBLE",
        "rooms_per_person": "DOUBLE",
        "population": "DOUBLE",
        "households": "DOUBLE",
        "latitude": "DOUBLE",
        "longitude": "DOUBLE",
        "spatial_block": "VARCHAR",
        "median_house_value": "DOUBLE",
    },
    spec=Spec(
        key="block_group_id",
        target="median_house_value",
        group="spatial_block",
        split="group",
        alpha_by="folds",
        candidates=("ridge",),
    ),
)
