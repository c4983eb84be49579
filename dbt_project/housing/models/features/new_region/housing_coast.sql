with

housing_features as (

    select * from {{ ref('housing_features') }}

),

-- the shore from Mexico to Oregon, drawn by hand through capes and bays as an atlas has them: good to a few km
coast (place_number, latitude, longitude) as (

    values
    (1, 32.53, -117.12), (2, 32.67, -117.24), (3, 32.85, -117.28), (4, 33.20, -117.39), (5, 33.46, -117.70),
    (6, 33.60, -117.90), (7, 33.72, -118.10), (8, 33.71, -118.29), (9, 33.74, -118.41), (10, 33.95, -118.45),
    (11, 34.03, -118.60), (12, 34.00, -118.81), (13, 34.09, -119.07), (14, 34.27, -119.29), (15, 34.41, -119.69),
    (16, 34.45, -120.47), (17, 34.58, -120.65), (18, 35.14, -120.64), (19, 35.25, -120.90), (20, 35.66, -121.28),
    (21, 36.00, -121.50), (22, 36.30, -121.90), (23, 36.63, -121.94), (24, 36.80, -121.79), (25, 36.95, -122.03),
    (26, 37.11, -122.33), (27, 37.50, -122.50), (28, 37.78, -122.515), (29, 37.83, -122.53), (30, 38.00, -123.00),
    (31, 38.31, -123.05), (32, 38.77, -123.53), (33, 39.30, -123.80), (34, 39.83, -123.85), (35, 40.03, -124.07),
    (36, 40.44, -124.41), (37, 40.80, -124.20), (38, 41.06, -124.15), (39, 41.75, -124.20), (40, 42.00, -124.21)

),

stretches as (

    select
        coast.latitude as from_latitude,
        coast.longitude as from_longitude,
        next_place.latitude as to_latitude,
        next_place.longitude as to_longitude
    from coast
    inner join coast as next_place on coast.place_number + 1 = next_place.place_number

),

-- in km east and north of the block group, on the plane that touches the earth there
seen as (

    select
        housing_features.block_group_id,
        {{ km_east('stretches.from_longitude') }} as from_east,
        {{ km_north('stretches.from_latitude') }} as from_north,
        {{ km_east('stretches.to_longitude') }} - {{ km_east('stretches.from_longitude') }} as along_east,
        {{ km_north('stretches.to_latitude') }} - {{ km_north('stretches.from_latitude') }} as along_north
    from housing_features
    cross join stretches

),

-- how far along the stretch its nearest point lies, as a share from 0 to 1
approached as (

    select
        *,
        greatest(
            0,
            least(
                1,
                -(from_east * along_east + from_north * along_north)
                / (along_east * along_east + along_north * along_north)
            )
        ) as part
    from seen

),

final as (

    select
        block_group_id,
        min({{ length_of('from_east + part * along_east', 'from_north + part * along_north') }}) as km_to_coast
    from approached
    group by block_group_id

)

select * from final
