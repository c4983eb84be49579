with

landed as (

    select * from {{ ref('california_housing') }}

),

typed as (

    select
        cast(MedInc as double) as med_inc,
        cast(HouseAge as double) as house_age,
        cast(AveRooms as double) as ave_rooms,
        cast(AveBedrms as double) as ave_bedrms,
        cast(Population as double) as population,
        cast(AveOccup as double) as ave_occup,
        cast(Latitude as double) as latitude,
        cast(Longitude as double) as longitude,
        cast(MedHouseVal as double) as med_house_val
    from landed

),

final as (

    select
        {{ hash_key([
            'med_inc', 'house_age', 'ave_rooms', 'ave_bedrms', 'population', 'ave_occup', 'latitude', 'longitude'
        ]) }} as block_group_id,
        -- to the cent: the product alone would carry noise in its last bits (83252.00000000001)
        round(med_inc * 10000, 2) as median_income_usd,
        house_age as house_age_years,
        ave_rooms as rooms_per_household,
        ave_bedrms as bedrooms_per_household,
        population,
        ave_occup as people_per_household,
        latitude,
        longitude,
        round(med_house_val * 100000, 2) as median_house_value
    from typed

)

select * from final
