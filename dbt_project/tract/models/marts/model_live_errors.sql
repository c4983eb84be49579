with

live_errors as (

    select * from {{ tract.own(source('ml', 'live_errors')) }}

),

publications as (

    select * from {{ source('ops', 'publications') }}

),

held_out as (

    select * from {{ ref('model_performance') }}
    where slice = 'all' and is_decisive

),

final as (

    select
        live_errors.exposure,
        live_errors.publication_id,
        live_errors.version_id,
        held_out.candidate,
        live_errors.row_count,
        live_errors.rmse,
        held_out.rmse as heldout_rmse,
        live_errors.mae,
        held_out.mae as heldout_mae,
        live_errors.log_loss,
        held_out.log_loss as heldout_log_loss,
        live_errors.brier_score,
        held_out.brier_score as heldout_brier_score,
        live_errors.accuracy,
        held_out.accuracy as heldout_accuracy,
        live_errors.coverage,
        held_out.coverage as heldout_coverage,
        live_errors.predicted_publication_id,
        publications.published_at
    from live_errors
    inner join publications on live_errors.publication_id = publications.publication_id
    inner join held_out
        on
            live_errors.exposure = held_out.exposure
            and live_errors.version_id = held_out.version_id

)

select * from final
