with

versions as (

    select * from {{ tract.own(source('ml', 'model_versions')) }}

),

metrics as (

    select * from {{ tract.own(source('ml', 'model_metrics')) }}

),

champions as (

    select * from {{ tract.own(source('ml', 'champions')) }}

),

measured as (

    select
        exposure,
        version_id,
        candidate,
        split,
        slice,
        map_from_entries(list((metric, value))) as of_metric
    from metrics
    group by all

),

final as (

    select
        versions.exposure,
        versions.version_id,
        measured.split,
        measured.slice,
        versions.candidate,
        versions.publication_id,
        versions.trained_at,
        cast(measured.of_metric['rows'] as bigint) as row_count,
        cast(measured.of_metric['sampled_from'] as bigint) as sampled_from,
        cast(json_extract_string(versions.spec, '$.coverage') as double) as asked_coverage,
        measured.of_metric['rmse'] as rmse,
        measured.of_metric['mae'] as mae,
        measured.of_metric['median_absolute_error'] as median_absolute_error,
        measured.of_metric['p90_absolute_error'] as p90_absolute_error,
        measured.of_metric['r2'] as r2,
        measured.of_metric['log_loss'] as log_loss,
        measured.of_metric['brier_score'] as brier_score,
        measured.of_metric['roc_auc'] as roc_auc,
        measured.of_metric['average_precision'] as average_precision,
        measured.of_metric['accuracy'] as accuracy,
        measured.of_metric['ece'] as ece,
        measured.of_metric['coverage'] as coverage,
        measured.of_metric['mean_width'] as mean_width,
        measured.of_metric['mean_set_size'] as mean_set_size,
        measured.split = json_extract_string(versions.spec, '$.split') as is_decisive,
        champions.version_id is not null as is_champion
    from versions
    inner join measured
        on
            versions.exposure = measured.exposure
            and versions.version_id = measured.version_id
            and versions.candidate = measured.candidate
    left join champions
        on
            versions.exposure = champions.exposure
            and versions.version_id = champions.version_id

)

select * from final
