with

housing_features as (

    select * from {{ ref('housing_features') }}

),

promotions as (

    select * from {{ source('ml', 'promotions') }}

),

consumptions as (

    select * from {{ source('ops', 'consumptions') }}

),

predictions as (

    select * from {{ source('ml', 'predictions') }}

),

champion as (

    select max_by(version_id, promotion) as version_id
    from promotions
    where exposure = 'housing_value'

),

newest as (

    -- rows that came back are predicted under the publication that they had first
    select max_by(coalesce(predicted_publication_id, publication_id), consumed_at) as publication_id
    from consumptions
    where
        exposure = 'housing_value'
        and judged_as is not null

),

valuations as (

    select predictions.*
    from predictions
    inner join champion on predictions.version_id = champion.version_id
    inner join newest on predictions.publication_id = newest.publication_id
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
