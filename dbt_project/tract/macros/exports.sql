{#- Exports stand beside the lake's own files: where that is, the lake knows. -#}
{% macro external_location(relation, config) -%}
    {%- if execute -%}
        {%- set environment = tract.environment() -%}
        {%- set root = run_query("select regexp_replace(data_path, '/[^/]+/?$', '') from ducklake_settings('lake')").rows[0][0] -%}
        {{- return(root ~ '/exports/' ~ (environment ~ '/' if environment else '') ~ relation.identifier ~ '.parquet') -}}
    {%- endif -%}
    {{- return('') -}}
{%- endmacro %}

{#- dbt-duckdb's `external`, but for a relation without rows: from that it would write a file with a row of nulls. -#}
{% materialization export, adapter='duckdb' %}
    {%- if run_query('select 1 from (' ~ compiled_code ~ ') limit 1') | length == 0 -%}
        {%- call noop_statement('main', 'NO ROWS, NOT WRITTEN') -%} {%- endcall -%}
        {{- return({'relations': []}) -}}
    {%- endif -%}
    {{- return(materialization_external_duckdb()) -}}
{% endmaterialization %}
