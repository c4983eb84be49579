with

block_groups as (

    select * from {{ ref('stg_housing') }}

),

final as (

    select
        block_group_id,
        median_income_usd,
        house_age_years,
        rooms_per_household,
        bedrooms_per_household,
        bedrooms_per_household / nullif(rooms_per_household, 0) as bedrooms_per_room,
        people_per_household,
        rooms_per_household / nullif(people_per_household, 0) as rooms_per_person,
        population,
        round(population / nullif(people_per_household, 0), 0) as households,
        latitude,
        longitude,
        concat(
            'n', cast(cast(floor(latitude) as integer) as {{ dbt.type_string() }}),
            'w', cast(cast(-floor(longitude) as integer) as {{ dbt.type_string() }})
        ) as spatial_block,
        median_house_value
    from block_groups

)

select * from final
