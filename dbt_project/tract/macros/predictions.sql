{#- The predictions that stand for an exposure, to select from: by its champion, of the newest publication that it
    consumed in this target, a row a key. `table` is the exposure's `predictions`, where its spec names another than the default:
    dbt must know it before it knows the exposures. -#}
{% macro predictions(exposure_name, table='predictions') -%}
    {%- set predictions = source('ml', table) -%}
    {%- set standing_predictions = source('ml', 'standing_predictions') -%}
    {%- set lake_name = tract.lake_name(exposure_name) -%}
    {%- set named = " replace ('" ~ exposure_name ~ "' as exposure)" if lake_name != exposure_name else '' -%}
    {%- set incremental = [] -%}
    {%- if execute -%}
        {%- set tables = {} -%}
        {%- for exposure in graph.exposures.values() if exposure.type == 'ml' -%}
            {%- set named = exposure.config.meta.ml.predictions or 'predictions' -%}
            {%- if named is mapping and named.incremental -%} {%- do incremental.append(exposure.name) -%} {%- endif -%}
            {%- set named = named if named is string else named.table or 'predictions' -%}
            {%- do tables.update({exposure.name: named}) -%}
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
    {%- if exposure_name in incremental -%}
    (
        select *{{ named }}
        from {{ predictions.incorporate(path={'identifier': 'current_' ~ predictions.identifier}) }}
        where exposure = '{{ lake_name }}'
    )
    {%- else -%}
    (
        select predicted.*{{ named }}
        from {{ predictions }} as predicted
        inner join {{ standing_predictions }} as standing
            on
                predicted.exposure = standing.exposure
                and predicted.version_id = standing.version_id
                and predicted.publication_id = standing.predicted_publication_id
        where predicted.exposure = '{{ lake_name }}'
    )
    {%- endif -%}
{%- endmacro %}
