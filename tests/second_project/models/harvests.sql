{{ config(alias='bed_harvests') }}

select
    bed,
    cast(sun_hours as double) as sun_hours,
    cast(compost_litres as double) as compost_litres,
    -- columns as people have them: any name, texts, booleans and dates, gaps
    ['clay', 'sand', 'gardener''s "best"', null][1 + cast(hash(bed, 1) % 4 as integer)] as "Boden, von Auge",
    nullif(hash(bed, 2) % 3, 2) = 1 as "In the shade?",
    case when hash(bed, 3) % 5 > 0 then date '2025-04-01' + cast(hash(bed, 4) % 60 as integer) end as "order",
    cast(0.4 * sun_hours + 0.1 * compost_litres + (hash(bed) % 100) / 100.0 as double) as courgettes_kg
from {{ ref('beds') }}
