{#- The predictions that stand for an exposure, to select from: by its champion, of the newest publication that it
    consumed, a row a key. `table` is the exposure's `predictions`, where its spec names another than the default:
    dbt must know it before it knows the exposures. -#}
{% macro predictions(exposure_name, table='predictions') -%}
    {%- set predictions = source('ml', table) -%}
    {%- set promotions = source('ml', 'promotions') -%}
    {%- set consumptions = source('ops', 'consumptions') -%}
    {%- if execute -%}
        {%- set tables = {} -%}
        {%- for exposure in graph.exposures.values() if exposure.type == 'ml' -%}
            {%- do tables.update({exposure.name: exposure.config.meta.ml.predictions or 'predictions'}) -%}
        {%- endfor -%}
        {%- if exposure_name not in tables -%}
            {{- exceptions.raise_compiler_error(
                model.name ~ " asks for the predictions of '" ~ exposure_name ~ "', which is no exposure of type ml. "
                ~ "There are: " ~ (tables | join(', ') or 'none') ~ "."
            ) -}}
        {%- elif tables[exposure_name] != table -%}
            {{- exceptions.raise_compiler_error(
                model.name ~ " asks for the predictions of " ~ exposure_name ~ " in ml." ~ table ~ ", but they are in ml."
                ~ tables[exposure_name] ~ ". Say tract.predictions('" ~ exposure_name ~ "', '"
                ~ tables[exposure_name] ~ "')."
            ) -}}
        {%- endif -%}
    {%- endif -%}
    (
        select predicted.*
        from {{ predictions }} as predicted
        inner join (
            select max_by(version_id, promotion) as version_id
            from {{ promotions }}
            where exposure = '{{ exposure_name }}'
        ) as champion on predicted.version_id = champion.version_id
        inner join (
            -- rows that came back are predicted under the publication that they had first
            select max_by(coalesce(predicted_publication_id, publication_id), consumed_at) as publication_id
            from {{ consumptions }}
            where
                exposure = '{{ exposure_name }}'
                and judged_as is not null
        ) as newest on predicted.publication_id = newest.publication_id
        where predicted.exposure = '{{ exposure_name }}'
    )
{%- endmacro %}
