with

drift as (

    select * from {{ tract.own(source('ml', 'drift')) }}

),

publications as (

    select * from {{ source('ops', 'publications') }}

),

newest as (

    select
        drift.exposure,
        max_by(drift.publication_id, publications.snapshot_id) as publication_id
    from drift
    inner join publications on drift.publication_id = publications.publication_id
    group by drift.exposure

),

final as (

    select
        drift.exposure,
        drift.publication_id,
        drift.column_name,
        drift.psi,
        drift.ks,
        drift.version_id,
        drift.baseline_publication_id,
        drift.baseline_rows,
        drift.current_rows,
        drift.new_levels,
        drift.new_level_rows,
        publications.published_at,
        newest.publication_id is not null as is_newest
    from drift
    inner join publications on drift.publication_id = publications.publication_id
    left join newest
        on
            drift.exposure = newest.exposure
            and drift.publication_id = newest.publication_id

)

select * from final
