{#- dbt looks these two up in the project itself, and not in its packages. -#}

{% macro generate_schema_name(custom_schema_name, node) -%}
    {{- return(tract.generate_schema_name(custom_schema_name, node)) -}}
{%- endmacro %}


{% macro external_location(relation, config) -%}
    {{- return(tract.external_location(relation, config)) -}}
{%- endmacro %}
