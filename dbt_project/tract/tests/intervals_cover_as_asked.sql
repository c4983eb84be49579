-- The champion's intervals, or sets of classes, on rows that neither its model nor they had seen, hold the true value
-- as often as the spec asks: over all rows to 2 points, in no slice of 100 rows or more less than 5 points below, but
-- for those of the variable slices_not_judged. Sets of one class each may hold it more often: none are smaller.
-- Held out by time, the last period is judged alone: what those before it promised, when less was known, is history.
{%- set not_judged = ['all'] + var('slices_not_judged') | map('replace', "'", "''") | list %}

with

performance as (

    select * from {{ ref('model_performance') }}
    where is_champion and is_decisive

),

final as (

    select * from performance
    where
        (
            slice = 'all'
            and split != 'time'
            and (
                coverage < asked_coverage - 0.02
                or (coverage > asked_coverage + 0.02 and coalesce(mean_set_size, 2) > 1)
            )
        )
        or (
            slice not in ('{{ not_judged | join("', '") }}')
            and (split != 'time' or slice like 'period: from %')
            and row_count >= 100
            and coverage < asked_coverage - 0.05
        )

)

select * from final
