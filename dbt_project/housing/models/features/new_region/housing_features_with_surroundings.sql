with

housing_features as (

    select * from {{ ref('housing_features') }}

),

housing_coast as (

    select * from {{ ref('housing_coast') }}

),

housing_surroundings as (

    select * from {{ ref('housing_surroundings') }}

),

final as (

    select
        housing_features.*,
        housing_coast.* exclude (block_group_id), -- noqa: RF02
        housing_surroundings.* exclude (block_group_id) -- noqa: RF02
    from housing_features
    inner join housing_coast on housing_features.block_group_id = housing_coast.block_group_id
    inner join housing_surroundings on housing_features.block_group_id = housing_surroundings.block_group_id

)

select * from final
