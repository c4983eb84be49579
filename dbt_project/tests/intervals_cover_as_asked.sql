-- The champion's intervals, on rows that neither its model nor its intervals had seen, hold the true value as often as
-- the spec asks: over all rows to 2 points, in no slice of 100 rows or more less than 5 points below. Values at the
-- census's cap are no true values: their slice is not judged.
with

metrics as (

    select * from {{ source('ml', 'model_metrics') }}

),

versions as (

    select * from {{ source('ml', 'model_versions') }}

),

promotions as (

    select * from {{ source('ml', 'promotions') }}

),

champions as (

    select
        exposure,
        max_by(version_id, promotion) as version_id
    from promotions
    group by exposure

),

asked as (

    select
        versions.exposure,
        versions.version_id,
        versions.candidate,
        cast(json_extract_string(versions.spec, '$.level') as double) as asked_level,
        json_extract_string(versions.spec, '$.split') as split
    from versions
    inner join champions
        on
            versions.exposure = champions.exposure
            and versions.version_id = champions.version_id

),

covered as (

    select
        asked.exposure,
        asked.version_id,
        asked.asked_level,
        metrics.slice,
        max(case when metrics.metric = 'rows' then metrics.value end) as judged_rows,
        max(case when metrics.metric = 'coverage' then metrics.value end) as coverage
    from asked
    inner join metrics
        on
            asked.exposure = metrics.exposure
            and asked.version_id = metrics.version_id
            and asked.candidate = metrics.candidate
            and asked.split = metrics.split
    group by all

),

final as (

    select * from covered
    where
        (slice = 'all' and abs(coverage - asked_level) > 0.02)
        or (slice not in ('all', 'value: at the cap') and judged_rows >= 100 and coverage < asked_level - 0.05)

)

select * from final
