-- The champion's intervals, on rows that neither its model nor its intervals had seen, hold the true value as often as
-- the spec asks: over all rows to 2 points, in no slice of 100 rows or more less than 5 points below, but for those
-- of the variable slices_not_judged. Of periods the last is such a slice: those before are history.
{%- set not_judged = ['all'] + var('slices_not_judged') | map('replace', "'", "''") | list %}

with

performance as (

    select * from {{ ref('model_performance') }}
    where is_champion and is_decisive

),

final as (

    select * from performance
    where
        (slice = 'all' and abs(coverage - asked_coverage) > 0.02)
        or (
            slice not in ('{{ not_judged | join("', '") }}')
            and not (split = 'time' and slice like 'period: % until %')
            and row_count >= 100
            and coverage < asked_coverage - 0.05
        )

)

select * from final
