with

housing_features as (

    select * from {{ ref('housing_features') }}

),

standing_predictions as (

    select * from {{ source('ml', 'standing_predictions') }}

),

predictions as (

    select * from {{ source('ml', 'predictions') }}

),

valuations as (

    select predictions.*
    from predictions
    inner join standing_predictions
        on
            predictions.exposure = standing_predictions.exposure
            and predictions.version_id = standing_predictions.version_id
            and predictions.publication_id = standing_predictions.predicted_publication_id
    where predictions.exposure = 'housing_value'

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
