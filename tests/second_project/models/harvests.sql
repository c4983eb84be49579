{{ config(alias='bed_harvests') }}

select
    bed,
    cast(sun_hours as double) as sun_hours,
    cast(compost_litres as double) as compost_litres,
    cast(0.4 * sun_hours + 0.1 * compost_litres + (hash(bed) % 100) / 100.0 as double) as courgettes_kg
from {{ ref('beds') }}
