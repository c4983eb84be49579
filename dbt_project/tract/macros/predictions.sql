{#- The predictions that stand for an exposure, to select from: by its champion, of the newest publication that it
    consumed, a row a key. `table` is the exposure's `predictions`, where its spec names another than the default:
    dbt must know it before it knows the exposures. -#}
{% macro predictions(exposure_name, table='predictions') -%}
    {%- set predictions = source('ml', table) -%}
    {%- if execute -%}
        {%- set tables = {} -%}
        {%- for exposure in graph.exposures.values() if exposure.type == 'ml' -%}
            {%- set named = exposure.config.meta.ml.predictions or 'predictions' -%}
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
    (
        select *
        from {{ predictions.incorporate(path={'identifier': 'current_' ~ predictions.identifier}) }}
        where exposure = '{{ exposure_name }}'
    )
{%- endmacro %}
