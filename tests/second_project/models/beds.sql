-- 600 beds of an imagined allotment, the same each time.
select
    'bed-' || lpad(cast(n as varchar), 3, '0') as bed,
    (hash(n) % 1000) / 100.0 as sun_hours,
    (hash(n + 1000) % 1000) / 20.0 as compost_litres
from range(600) as numbers(n)
