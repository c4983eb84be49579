with

housing_features as (

    select * from {{ ref('housing_features') }}

),

valuations as (

    select * from {{ tract.predictions('housing_value') }}

),

final as (

    select
        housing_features.block_group_id,
        housing_features.latitude,
        housing_features.longitude,
        housing_features.spatial_block,
        housing_features.median_income_usd,
        housing_features.house_age_years,
        housing_features.population,
        housing_features.households,
        housing_features.median_house_value,
        valuations.prediction as predicted_value,
        valuations.lower as predicted_value_lower,
        valuations.upper as predicted_value_upper,
        valuations.version_id,
        valuations.publication_id,
        valuations.predicted_at
    from housing_features
    left join valuations on housing_features.block_group_id = valuations.block_group_id

)

select * from final
