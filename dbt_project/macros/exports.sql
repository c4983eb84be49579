{#- Exports stand beside the lake's own files: where that is, the lake knows. -#}
{% macro external_location(relation, config) -%}
    {%- if execute -%}
        {%- set root = run_query("select regexp_replace(data_path, '/[^/]+/?$', '') from ducklake_settings('lake')").rows[0][0] -%}
        {{- return(root ~ '/exports/' ~ relation.identifier ~ '.parquet') -}}
    {%- endif -%}
    {{- return('') -}}
{%- endmacro %}
